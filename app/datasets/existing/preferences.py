"""Preferences as public datasets have them: pairs, ranks of K, scores of K."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from app.datasets.existing.plain import (
    Candidate,
    Labeled,
    NotThisShape,
    Order,
    Turn,
    Values,
    about,
    answer_of,
    completion_of,
    conversation_of,
    ranks_of_scores,
    text_of,
    transcript_of,
    turns_of,
)

FIRST, SECOND = (1, 2), (2, 1)


def pairs(values: Values) -> Iterator[Labeled]:
    """TRL's: `chosen` and `rejected`, as texts or messages, with `prompt` or with the prompt at the head of both."""
    chosen, rejected = values["chosen"], values["rejected"]
    if isinstance(chosen, str) and isinstance(rejected, str):
        messages, texts = _texts(values.get("prompt"), chosen, rejected)
    else:
        messages, texts = _conversations(values.get("prompt"), chosen, rejected)
    scores = (values.get("score_chosen"), values.get("score_rejected"))
    found = tuple(Candidate(text, score=_number(score)) for text, score in zip(texts, scores, strict=True))
    yield Labeled(messages, found, (Order(FIRST, _labeler(values)),), about=about(values))


def _texts(prompt: Any, chosen: str, rejected: str) -> tuple[list[Turn], list[str]]:
    if prompt is None:
        both = ((chosen, "chosen"), (rejected, "rejected"))
        head = chosen[: _agree(chosen, rejected)]
        head = head[: max(head.rfind(" "), head.rfind("\n")) + 1]  # no word is cut in two
        prompt = head
        chosen, rejected = (text_of(text[len(head) :], name) for text, name in both)
    return turns_of(prompt, "prompt"), [chosen, rejected]


def _conversations(prompt: Any, chosen: Any, rejected: Any) -> tuple[list[Turn], list[str]]:
    both = [conversation_of(chosen, "chosen"), conversation_of(rejected, "rejected")]
    messages = turns_of(prompt, "prompt") if prompt is not None else []
    shared = both[0][: _agree(*both)]
    if not messages or shared[: len(messages)] == messages:
        messages = shared
    else:
        shared = []
    if not messages:
        raise NotThisShape("`chosen` and `rejected` share no prompt, and there is no `prompt`")
    if shared == both[0] == both[1]:
        raise NotThisShape("`chosen` and `rejected` are the same")
    rest = [each[len(shared) :] for each in both]
    return messages, [answer_of(turns, name) for turns, name in zip(rest, ("chosen", "rejected"), strict=True)]


def _agree(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How far two texts, or two conversations, are the same."""
    agreeing = (place for place, (mine, theirs) in enumerate(zip(one, other, strict=False)) if mine != theirs)
    return next(agreeing, min(len(one), len(other)))


def hh_rlhf(values: Values) -> Iterator[Labeled]:
    """Two transcripts that part at the last answer."""
    transcripts = {name: transcript_of(completion_of(values[name], name)) for name in ("chosen", "rejected")}
    for name, turns in transcripts.items():
        if len(turns) < 2:
            raise NotThisShape(f"`{name}` has no turn of Human: and Assistant:")
    yield from pairs({**values, **transcripts, "prompt": None})


def summaries(values: Values) -> Iterator[Labeled]:
    """OpenAI's comparisons of summaries: `info` about the post, two `summaries`, which one was the `choice`. Our own
    export has the whole `prompt` too."""
    messages = turns_of(values.get("prompt") or _asked_for(values["info"]), "prompt")
    if values["choice"] not in (0, 1):
        raise NotThisShape("`choice` is neither 0 nor 1")
    found = tuple(Candidate(completion_of(each.get("text"), "summaries"), str(each.get("policy") or ""))
                  for each in _dicts(values["summaries"], "summaries"))  # fmt: skip
    if len(found) != 2:
        raise NotThisShape(f"there are {len(found)} `summaries`, not two")
    order = Order(SECOND if values["choice"] else FIRST, str(values.get("worker") or ""))
    split = str(values.get("split") or "")
    use_case = values.get("use_case") or "summarization"
    facts = about({**values, "split": "valid" if split.startswith("valid") else split, "use_case": use_case})
    yield Labeled(messages, found, (order,), about=facts)


def _asked_for(info: Any) -> str:
    """The prompt that asks for a summary of this post."""
    info = info if isinstance(info, dict) else {}
    heads = (("SUBREDDIT: r/", info.get("subreddit")), ("TITLE: ", info.get("title")))
    told = [f"{head}{value}" for head, value in heads if value]
    return "\n\n".join([*told, f"POST: {text_of(info.get('post') or info.get('article'), 'info.post')}", "TL;DR:"])


def scored(values: Values) -> Iterator[Labeled]:
    """UltraFeedback's: K `completions` of an `instruction`, each with a score."""
    rows = _dicts(values["completions"], "completions")
    found = tuple(Candidate(completion_of(row.get("response"), "response"), str(row.get("model") or ""), _score(row))
                  for row in rows)  # fmt: skip
    ranks = ranks_of_scores([each.score for each in found])
    if sum(rank is not None for rank in ranks) < 2:
        raise NotThisShape("fewer than two of its completions have a score")
    messages = turns_of(values["instruction"], "instruction")
    yield Labeled(messages, found, (Order(ranks, _labeler(values)),), about=about(values))


def _score(row: Values) -> float | None:
    """The overall score, else the mean of the ratings in `annotations`."""
    for name in ("overall_score", "fine-grained_score", "score", "rating"):
        if (number := _number(row.get(name))) is not None:
            return number
    notes = row.get("annotations")
    ratings = [_number(note.get("Rating")) for note in notes.values() if isinstance(note, dict)] if notes else []
    known = [rating for rating in ratings if rating is not None]
    return sum(known) / len(known) if known else None


def ranked(values: Values) -> Iterator[Labeled]:
    """K completions with ranks: of one labeler in `ranks` (our own export), or of several in `rankings`."""
    texts = values.get("completions") or values.get("responses")
    if not isinstance(texts, list) or len(texts) < 2:
        raise NotThisShape("there are no two completions to compare")
    models = values.get("models")
    known = models if isinstance(models, list) and len(models) == len(texts) else [None] * len(texts)
    found = tuple(_candidate(text, model) for text, model in zip(texts, known, strict=True))
    given = values.get("rankings")
    judged = given if isinstance(given, list) else [values]
    orders = tuple(_order(each, len(found)) for each in judged)
    yield Labeled(turns_of(values.get("prompt", values.get("messages")), "prompt"), found, orders, about=about(values))


def _candidate(value: Any, model: Any) -> Candidate:
    if isinstance(value, dict):
        value, model = value.get("text"), value.get("model") or model
    if not isinstance(value, str):
        raise NotThisShape("the text of a completion is missing")
    return Candidate(value, str(model or ""))  # it may have said nothing: that was judged too


def _order(value: Any, count: int) -> Order:
    ranks = value.get("ranks") if isinstance(value, dict) else None
    if not isinstance(ranks, list) or len(ranks) != count:
        raise NotThisShape(f"a ranking has not one rank for each of the {count} completions")
    if any(rank is not None and (type(rank) is not int or rank < 1) for rank in ranks):
        raise NotThisShape("a rank is no whole number from 1 on")
    note, is_bad = str(value.get("note") or ""), value.get("all_bad") in (True, "True", "true")
    return Order(tuple(ranks), str(value.get("labeler") or ""), note, is_bad)


def _dicts(value: Any, name: str) -> list[Values]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise NotThisShape(f"`{name}` is no list of objects")
    return value


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _labeler(values: Values) -> str:
    return str(values.get("labeler") or values.get("worker") or values.get("annotator") or "")
