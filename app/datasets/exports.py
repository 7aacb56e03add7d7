"""Snapshots in the forms that trainers read: TRL's, standard and conversational, and whole rankings."""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import BinaryIO

from app.core.errors import Invalid
from app.datasets.models import SnapshotKind
from app.datasets.pairs import preference_pairs
from app.datasets.rows import Row, in_batches

BLOCK = 2**18
IN_MEMORY = 16 * 2**20
WHOLE = ("completions", "ranks", "models", "ratings", "flags", "flags_asked", "note", "all_bad", "round", "labeled_at")
_SPEAKERS = {"system": "System", "user": "User", "assistant": "Assistant"}


class ExportForm(StrEnum):
    preference = "preference"  # prompt, chosen, rejected: texts
    preference_conversational = "preference_conversational"  # the same as lists of messages
    rankings = "rankings"  # all completions of a prompt with their ranks
    prompt_completion = "prompt_completion"
    prompt_completion_conversational = "prompt_completion_conversational"
    prompt_only = "prompt_only"
    prompt_only_conversational = "prompt_only_conversational"
    text = "text"


class FileType(StrEnum):
    jsonl = "jsonl"
    parquet = "parquet"


FORMS: dict[SnapshotKind, tuple[ExportForm, ...]] = {
    SnapshotKind.demonstrations: (ExportForm.prompt_completion, ExportForm.prompt_completion_conversational),
    SnapshotKind.comparisons: (ExportForm.preference, ExportForm.preference_conversational, ExportForm.rankings),
    SnapshotKind.prompts: (ExportForm.prompt_only, ExportForm.prompt_only_conversational),
    SnapshotKind.text: (ExportForm.text,),
}


def plain_prompt(messages: list[dict[str, str]]) -> str:
    """A prompt as one text: a single turn as it stands, a conversation with its speakers, open for the answer."""
    if len(messages) == 1:
        return messages[0]["content"]
    turns = [f"{_SPEAKERS[turn['role']]}: {turn['content']}" for turn in messages]
    return "\n\n".join([*turns, "Assistant:"])


def _answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def _origin(row: Row) -> Row:
    return {name: row[name] for name in ("prompt_id", "split", "use_case", "group", "labeler", "simulated")}


def _preference(row: Row) -> Iterator[Row]:
    for chosen, rejected in preference_pairs(row["ranks"]):
        texts = row["completions"]
        pair = {"prompt": plain_prompt(row["messages"]), "chosen": texts[chosen], "rejected": texts[rejected]}
        yield {**pair, "ranking_id": row["id"], **_origin(row)}


def _preference_conversational(row: Row) -> Iterator[Row]:
    for chosen, rejected in preference_pairs(row["ranks"]):
        answers = {"chosen": _answer(row["completions"][chosen]), "rejected": _answer(row["completions"][rejected])}
        yield {"prompt": row["messages"], **answers, "ranking_id": row["id"], **_origin(row)}


def _rankings(row: Row) -> Iterator[Row]:
    whole = {name: row.get(name) for name in WHOLE}  # what was frozen before a column was added has none
    yield {"prompt": row["messages"], **whole, "ranking_id": row["id"], **_origin(row)}


def _prompt_completion(row: Row) -> Iterator[Row]:
    pair = {"prompt": plain_prompt(row["messages"]), "completion": row["completion"]}
    yield {**pair, "demonstration_id": row["id"], **_origin(row)}


def _prompt_completion_conversational(row: Row) -> Iterator[Row]:
    pair = {"prompt": row["messages"], "completion": _answer(row["completion"])}
    yield {**pair, "demonstration_id": row["id"], **_origin(row)}


def _prompt_origin(row: Row) -> Row:
    return {"prompt_id": row["id"], **{name: row[name] for name in ("split", "use_case", "group")}}


def _prompt_only(row: Row) -> Iterator[Row]:
    yield {"prompt": plain_prompt(row["messages"]), **_prompt_origin(row)}


def _prompt_only_conversational(row: Row) -> Iterator[Row]:
    yield {"prompt": row["messages"], **_prompt_origin(row)}


def _text(row: Row) -> Iterator[Row]:
    yield {"text": row["text"], "source": row["source"], "split": row["split"]}


_SHAPES: dict[ExportForm, Callable[[Row], Iterator[Row]]] = {
    ExportForm.preference: _preference,
    ExportForm.preference_conversational: _preference_conversational,
    ExportForm.rankings: _rankings,
    ExportForm.prompt_completion: _prompt_completion,
    ExportForm.prompt_completion_conversational: _prompt_completion_conversational,
    ExportForm.prompt_only: _prompt_only,
    ExportForm.prompt_only_conversational: _prompt_only_conversational,
    ExportForm.text: _text,
}


def export_rows(rows: Iterable[Row], form: ExportForm, *, split: str = "") -> Iterator[Row]:
    """A snapshot's rows in `form`, of one split or of all. A ranking's pairs follow one another."""
    shape = _SHAPES[form]
    for row in rows:
        if not split or row["split"] == split:
            yield from shape(row)


def as_jsonl(rows: Iterable[Row]) -> Iterator[bytes]:
    for batch in in_batches(rows):
        yield "".join(json.dumps(row, ensure_ascii=False, default=_plain) + "\n" for row in batch).encode()


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} in an export")


def as_parquet(rows: Iterable[Row], form: ExportForm) -> Iterator[bytes]:
    """Parquet has its index at the end: the file is made first, on disk when it is large, and sent from there."""
    from app.datasets.export_columns import columns_of
    from app.datasets.parquet import write_rows

    with tempfile.SpooledTemporaryFile(IN_MEMORY) as spool:
        file: BinaryIO = spool  # type: ignore[assignment]
        write_rows(file, rows, columns_of(form))
        file.seek(0)
        while block := file.read(BLOCK):
            yield block


def export(
    kind: SnapshotKind, rows: Iterable[Row], *, form: ExportForm, file_type: FileType, split: str = ""
) -> Iterator[bytes]:
    """The bytes of an export file, made as they are read."""
    if form not in FORMS[kind]:
        raise Invalid(f"{kind.value.title()} have no form {form.value!r}.",
                      mend=f"Choose one of: {', '.join(FORMS[kind])}.")  # fmt: skip
    shaped = export_rows(rows, form, split=split)
    return as_jsonl(shaped) if file_type is FileType.jsonl else as_parquet(shaped, form)


def file_name(slug: str, kind: SnapshotKind, sha256: str, form: ExportForm, file_type: FileType, split: str) -> str:
    parts = [slug, f"{kind.value}-{sha256[:8]}", form.value, *([split] if split else [])]
    return f"{'.'.join(parts)}.{file_type.value}"
