"""What Argilla and Label Studio export: records whose fields have names of their own, with each annotator's answers."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from app.datasets.existing.plain import Candidate, Labeled, NotThisShape, Order, Turn, Values, Written, about, turns_of

PROMPTS = ("prompt", "instruction", "question", "input", "messages", "chat", "dialog", "text")
_CANDIDATE = re.compile(r"(response|completion|generation|answer|reply|output|text)[-_ ]?(\d+|[a-d])", re.IGNORECASE)
_LISTS = ("items", "responses", "completions", "answers", "candidates")
_SIDES = {"left": 0, "right": 1, "first": 0, "second": 1, "tie": None, "equal": None, "same": None}


def argilla(values: Values) -> Iterator[Labeled]:
    """`fields` and `responses`, nested as `to_list()` writes them or flat as `to_list(flatten=True)` does."""
    fields = values.get("fields")
    messages, names, found = _shown(fields if isinstance(fields, dict) else values)
    orders, written = [], []
    for answer, annotator in _argilla_answers(values):
        if (ranks := _ranks(answer, names)) is not None:
            orders.append(Order(ranks, annotator))
        elif not names and isinstance(answer, str) and answer.strip():
            written.append(Written(answer.strip(), annotator))
    yield _answered(messages, found, orders, written, {**(values.get("metadata") or {}), **values})


def _argilla_answers(values: Values) -> Iterator[tuple[Any, str]]:
    """Every submitted answer, with who gave it."""
    given = values.get("responses")
    flat = {name.removesuffix(".responses"): answers for name, answers in values.items() if name.endswith(".responses")}
    for question, answers in flat.items():
        users = values.get(f"{question}.responses.users") or []
        states = values.get(f"{question}.responses.status") or []
        for number, answer in enumerate(answers or []):
            yield from _submitted(answer, _at(users, number), _at(states, number))
    for answers in given.values() if isinstance(given, dict) else []:
        for each in answers or []:
            yield from _submitted(each.get("value"), each.get("user_id"), each.get("status"))
    for each in given if isinstance(given, list) else []:  # as versions before 2 did
        for answer in (each.get("values") or {}).values():
            yield from _submitted(answer.get("value"), each.get("user_id"), each.get("status"))


def _submitted(answer: Any, user: Any, status: Any) -> Iterator[tuple[Any, str]]:
    if answer is not None and status in (None, "submitted"):
        yield answer, str(user or "")


def _at(values: list[Any], number: int) -> Any:
    return values[number] if number < len(values) else None


def label_studio(values: Values) -> Iterator[Labeled]:
    """`data` with its `annotations`: pairwise choices, rankers, and texts that were written."""
    if not isinstance(values["data"], dict):
        raise NotThisShape("`data` is no object")
    messages, names, found = _shown(values["data"])
    orders, written = [], []
    for annotation in values["annotations"] or []:
        if annotation.get("was_cancelled"):
            continue
        by = annotation.get("completed_by")
        annotator = str(by.get("id", "") if isinstance(by, dict) else by or "")
        for answer in _label_studio_answers(annotation):
            if (ranks := _ranks(answer, names)) is not None:
                orders.append(Order(ranks, annotator))
            elif not names and isinstance(answer, str) and answer.strip():
                written.append(Written(answer.strip(), annotator))
    yield _answered(messages, found, orders, written, values["data"])


def _label_studio_answers(annotation: Values) -> Iterator[Any]:
    for result in annotation.get("result") or []:
        value = result.get("value") or {}
        if "selected" in value:
            yield value["selected"]
        elif "ranker" in value:
            ranker = value["ranker"]
            yield ranker if isinstance(ranker, list) else ranker.get("rank") or next(iter(ranker.values()), [])
        elif "choices" in value:
            yield (value["choices"] or [""])[0]
        elif "text" in value:
            texts = value["text"] if isinstance(value["text"], list) else [value["text"]]
            yield "\n".join(texts)


def _shown(fields: Values) -> tuple[list[Turn], list[str], tuple[Candidate, ...]]:
    """What the annotator saw: the prompt, and the completions with the names by which answers call them."""
    prompt = next((name for name in PROMPTS if fields.get(name)), None)
    if prompt is None:
        raise NotThisShape(f"none of its fields is a prompt: {', '.join(PROMPTS)}")
    listed = next((fields[name] for name in _LISTS if isinstance(fields.get(name), list)), None)
    if listed is None:
        named = sorted((name, text) for name, text in fields.items() if _CANDIDATE.fullmatch(name) and text)
    else:
        named = [_listed(number, each) for number, each in enumerate(listed)]
    return (
        turns_of(fields[prompt], prompt),
        [name for name, _ in named],
        tuple(Candidate(str(text)) for _, text in named),
    )


def _listed(number: int, value: Any) -> tuple[str, Any]:
    if isinstance(value, dict):
        return str(value.get("id", number)), value.get("body") or value.get("text") or value.get("html") or ""
    return str(number), value


def _ranks(answer: Any, names: list[str]) -> tuple[int | None, ...] | None:
    """The ranks that an answer gives to the completions of these names; None: it is not about their order."""
    if isinstance(answer, str) and len(names) == 2:
        return _choice(answer, names)
    if isinstance(answer, dict):  # {"value": [...], "rank": [...]}
        answer = [
            {"value": v, "rank": r} for v, r in zip(answer.get("value", []), answer.get("rank", []), strict=False)
        ]
    if not names or not isinstance(answer, list) or not answer:
        return None
    places = {str(each.get("value")): each.get("rank") for each in answer if isinstance(each, dict)}
    places = places or {str(name): place for place, name in enumerate(answer, start=1)}
    if not set(places) <= set(names):
        return None
    return tuple(places.get(name) for name in names)


def _choice(answer: str, names: list[str]) -> tuple[int, ...] | None:
    lowered = answer.strip().lower()
    place = names.index(answer) if answer in names else _SIDES.get(lowered, -1)
    return None if place == -1 else (1, 1) if place is None else (1, 2) if place == 0 else (2, 1)


def _answered(
    messages: list[Turn], found: Iterable[Candidate], orders: list[Order], written: list[Written], facts: Values
) -> Labeled:
    if not orders and not written:
        raise NotThisShape("no annotator ranked its completions or wrote one")
    return Labeled(messages, tuple(found) if orders else (), tuple(orders), tuple(written), about(facts))
