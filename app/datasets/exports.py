"""Snapshots in the forms that trainers and public tools read: TRL's, hh-rlhf's, OpenAI's, whole rankings, ratings."""

import re
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum

from app.core.errors import Invalid
from app.datasets.models import SnapshotKind
from app.datasets.pairs import preference_pairs
from app.datasets.rows import Row

ORIGIN = ("prompt_id", "split", "use_case", "group", "labeler", "simulated")
WHOLE = ("completions", "ranks", "models", "ratings", "flags", "flags_asked", "note", "all_bad", "round", "labeled_at")
OF_PROMPT = ("split", "use_case", "group", "kind", "language", "source")
_OF_PLACE = {"model": "models", "rank": "ranks", "ratings": "ratings", "flags": "flags"}
_SPEAKERS = {"system": "System", "user": "User", "assistant": "Assistant"}
_HUMAN = {"user": "Human", "assistant": "Assistant"}
_POST = re.compile(
    r"(?:SUBREDDIT: r/(?P<subreddit>[^\n]+)\n\n)?(?:TITLE: (?P<title>[^\n]+)\n\n)?POST: (?P<post>.+)\n\nTL;DR:",
    re.DOTALL,
)


class ExportForm(StrEnum):
    preference = "preference"  # prompt, chosen, rejected: texts
    preference_conversational = "preference_conversational"  # the same as lists of messages
    hh_rlhf = "hh_rlhf"  # chosen and rejected as transcripts of Human and Assistant
    summaries = "summaries"  # OpenAI's comparisons: info, two summaries, which one was the choice, the worker
    rankings = "rankings"  # all completions of a prompt with their ranks
    ratings = "ratings"  # one completion a row, as one labeler rated it
    prompt_completion = "prompt_completion"
    prompt_completion_conversational = "prompt_completion_conversational"
    prompt_only = "prompt_only"
    prompt_only_conversational = "prompt_only_conversational"
    text = "text"


class FileType(StrEnum):
    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"


_PAIRS = {ExportForm.preference, ExportForm.preference_conversational, ExportForm.hh_rlhf, ExportForm.summaries}
FORMS: dict[SnapshotKind, tuple[ExportForm, ...]] = {
    SnapshotKind.demonstrations: (ExportForm.prompt_completion, ExportForm.prompt_completion_conversational),
    SnapshotKind.comparisons: (
        ExportForm.preference, ExportForm.preference_conversational, ExportForm.hh_rlhf, ExportForm.summaries,
        ExportForm.rankings, ExportForm.ratings,
    ),
    SnapshotKind.prompts: (ExportForm.prompt_only, ExportForm.prompt_only_conversational),
    SnapshotKind.text: (ExportForm.text,),
}  # fmt: skip


def check_form(kind: SnapshotKind, form: ExportForm) -> None:
    if form not in FORMS[kind]:
        raise Invalid(
            f"{kind.value.title()} have no form {form.value!r}.", mend=f"Choose one of: {', '.join(FORMS[kind])}."
        )


def plain_prompt(messages: list[dict[str, str]]) -> str:
    """A prompt as one text: a single turn as it stands, a conversation with its speakers, open for the answer."""
    if len(messages) == 1:
        return messages[0]["content"]
    turns = [f"{_SPEAKERS[turn['role']]}: {turn['content']}" for turn in messages]
    return "\n\n".join([*turns, "Assistant:"])


def _answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def _origin(row: Row) -> Row:
    return {name: row[name] for name in ORIGIN}


def _preference(row: Row) -> Iterator[Row]:
    texts, prompt, origin = row["completions"], plain_prompt(row["messages"]), _origin(row)
    for chosen, rejected in preference_pairs(row["ranks"]):
        pair = {"prompt": prompt, "chosen": texts[chosen], "rejected": texts[rejected]}
        yield {**pair, "ranking_id": row["id"], **origin}


def _preference_conversational(row: Row) -> Iterator[Row]:
    for chosen, rejected in preference_pairs(row["ranks"]):
        answers = {"chosen": _answer(row["completions"][chosen]), "rejected": _answer(row["completions"][rejected])}
        yield {"prompt": row["messages"], **answers, "ranking_id": row["id"], **_origin(row)}


def transcript(messages: list[dict[str, str]], answer: str) -> str:
    """A conversation and its answer as hh-rlhf writes them. It has no place for a system's words, so these open the
    first turn of the human's."""
    system = "".join(f"{turn['content']}\n\n" for turn in messages if turn["role"] == "system")
    said = [turn for turn in messages if turn["role"] != "system"]
    turns = [f"\n\n{_HUMAN[turn['role']]}: {turn['content']}" for turn in [*said, *_answer(answer)]]
    return "".join(turns).replace("\n\nHuman: ", f"\n\nHuman: {system}", 1)


def _hh_rlhf(row: Row) -> Iterator[Row]:
    for chosen, rejected in preference_pairs(row["ranks"]):
        names = {"chosen": chosen, "rejected": rejected}
        pair = {name: transcript(row["messages"], row["completions"][place]) for name, place in names.items()}
        yield {**pair, "ranking_id": row["id"], **_origin(row)}


def _summaries(row: Row) -> Iterator[Row]:
    """Two at a time, in the order of the item, so that the choice is not always the first. `prompt` is beyond OpenAI's
    fields: a prompt that is no request to summarise a post can't be told from `info` alone."""
    models = row["models"]
    for chosen, rejected in preference_pairs(row["ranks"]):
        places = sorted((chosen, rejected))
        yield {
            "info": _post(row["messages"]),
            "summaries": [{"text": row["completions"][place], "policy": models[place]} for place in places],
            "choice": places.index(chosen),
            "worker": row["labeler"],
            "prompt": row["messages"],
            "ranking_id": row["id"],
            **_origin(row),
        }


def _post(messages: list[dict[str, str]]) -> dict[str, str | None]:
    """What `info` says of the post: its parts where the prompt is written as the paper's (C.2), else all of it."""
    found = _POST.fullmatch(messages[-1]["content"]) if len(messages) == 1 else None
    return found.groupdict() if found else {"subreddit": None, "title": None, "post": plain_prompt(messages)}


def _rankings(row: Row) -> Iterator[Row]:
    whole = {name: row.get(name) for name in WHOLE}  # what was frozen before a column was added has none
    yield {"prompt": row["messages"], **whole, "ranking_id": row["id"], **_origin(row)}


def _ratings(row: Row) -> Iterator[Row]:
    asked = row.get("flags_asked")
    for place, text in enumerate(row["completions"]):
        yield {
            "prompt": row["messages"],
            "completion": text,
            **{one: row[many][place] for one, many in _OF_PLACE.items()},
            "flags_asked": asked,
            "ranking_id": row["id"],
            "round": row["round"],
            "labeled_at": row["labeled_at"],
            **_origin(row),
        }


def _prompt_completion(row: Row) -> Iterator[Row]:
    pair = {"prompt": plain_prompt(row["messages"]), "completion": row["completion"]}
    yield {**pair, "demonstration_id": row["id"], **_origin(row)}


def _prompt_completion_conversational(row: Row) -> Iterator[Row]:
    pair = {"prompt": row["messages"], "completion": _answer(row["completion"])}
    yield {**pair, "demonstration_id": row["id"], **_origin(row)}


def _prompt_origin(row: Row) -> Row:
    return {"prompt_id": row["id"], **{name: row[name] for name in OF_PROMPT}}


def _prompt_only(row: Row) -> Iterator[Row]:
    yield {"prompt": plain_prompt(row["messages"]), **_prompt_origin(row)}


def _prompt_only_conversational(row: Row) -> Iterator[Row]:
    yield {"prompt": row["messages"], **_prompt_origin(row)}


def _text(row: Row) -> Iterator[Row]:
    yield {"text": row["text"], "source": row["source"], "split": row["split"]}


_SHAPES: dict[ExportForm, Callable[[Row], Iterator[Row]]] = {
    ExportForm.preference: _preference,
    ExportForm.preference_conversational: _preference_conversational,
    ExportForm.hh_rlhf: _hh_rlhf,
    ExportForm.summaries: _summaries,
    ExportForm.rankings: _rankings,
    ExportForm.ratings: _ratings,
    ExportForm.prompt_completion: _prompt_completion,
    ExportForm.prompt_completion_conversational: _prompt_completion_conversational,
    ExportForm.prompt_only: _prompt_only,
    ExportForm.prompt_only_conversational: _prompt_only_conversational,
    ExportForm.text: _text,
}


def needed(form: ExportForm) -> list[str] | None:
    """The columns of the snapshot that this form reads: most of a download's time goes into reading. None: all."""
    if form in _PAIRS:
        return [
            "id",
            "messages",
            "completions",
            "ranks",
            *(["models"] if form is ExportForm.summaries else []),
            *ORIGIN,
        ]
    return None


def export_rows(rows: Iterable[Row], form: ExportForm, *, split: str = "") -> Iterator[Row]:
    """A snapshot's rows in `form`, of one split or of all. A ranking's pairs follow one another."""
    shape = _SHAPES[form]
    for row in rows:
        if not split or row["split"] == split:
            yield from shape(row)
