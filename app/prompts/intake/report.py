"""What became of an import: its first rows that were not taken, and all of them as a file."""

import json
from collections.abc import Iterator, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.spreadsheet import csv_of
from app.core.storage import Artefacts
from app.prompts.intake.taking import report_key
from app.prompts.models import HeldFor, ImportedRow, PromptImport, Verdict

REASONS = {
    HeldFor.length: "too short or too long",
    HeldFor.language: "in another language",
    HeldFor.personal_data: "with personal data, to be looked at",
    HeldFor.prefix: "beginning like another",
    HeldFor.near: "nearly the same as another",
    HeldFor.cap: "too many of one source",
}
CHANGED = {
    "changed_masked": "personal data masked",
    "changed_language": "language found",
    "changed_use_case": "use case by a rule",
    "reviewed_use": "used as they are, after a review",
    "reviewed_mask": "masked in a review",
    "reviewed_retire": "retired in a review",
}
_COLUMNS = ("line", "verdict", "reason", "row")


def counted(row: PromptImport, verdict: Verdict) -> int:
    return int(row.counts.get(verdict.value, 0))


def held_counts(row: PromptImport) -> dict[HeldFor, int]:
    """How many prompts each step held."""
    return {reason: row.counts[f"held_{reason}"] for reason in REASONS if row.counts.get(f"held_{reason}")}


def in_use(row: PromptImport) -> int:
    return counted(row, Verdict.taken) - sum(held_counts(row).values()) - int(row.counts.get("reviewed_retire", 0))


def changed_counts(row: PromptImport) -> dict[str, int]:
    """What the steps that change prompts did, and their review, in words."""
    return {words: row.counts[name] for name, words in CHANGED.items() if row.counts.get(name)}


def first_left_out(session: Session, row: PromptImport, verdict: Verdict) -> Sequence[ImportedRow]:
    query = select(ImportedRow).where(ImportedRow.import_id == row.id, ImportedRow.verdict == verdict)
    return session.scalars(query.order_by(ImportedRow.number, ImportedRow.id)).all()


def left_out_jsonl(store: Artefacts, row: PromptImport) -> Iterator[bytes]:
    """Every row that was not taken, with its line, the reason and what it says."""
    for part in range(row.report_parts):
        with store.reading(report_key(row, part)) as file:
            yield file.read()


def left_out_csv(store: Artefacts, row: PromptImport) -> Iterator[bytes]:
    yield csv_of(_COLUMNS, []).encode()
    for block in left_out_jsonl(store, row):
        said = (json.loads(line) for line in block.splitlines())
        lines = (
            [each["line"], each["verdict"], each["reason"], json.dumps(each["row"], ensure_ascii=False)]
            for each in said
        )
        yield csv_of(None, lines).encode()
