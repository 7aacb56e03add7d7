"""What became of an import: its first rows that were not taken, and all of them as a file."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.core.spreadsheet import csv_of
from app.core.storage import Artefacts
from app.prompts.intake.taking import report_key
from app.prompts.models import HeldFor, ImportedRow, Prompt, PromptImport, Verdict

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
    **{f"taken_back_{reason}": f"taken back: {words}" for reason, words in REASONS.items()},
}
_COLUMNS = ("line", "verdict", "reason", "row")


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an import's prompts are now: its counts say what each step did, people have decided since."""

    in_use: int
    held: dict[HeldFor, int]
    withdrawn: int


def standing(session: Session, row: PromptImport) -> Standing:
    query = select(Prompt.held_for, Prompt.is_retired, func.count()).where(Prompt.import_id == row.id)
    found = {
        (held, retired): n for held, retired, n in session.execute(query.group_by(Prompt.held_for, Prompt.is_retired))
    }
    held = {reason: found.get((reason, True), 0) for reason in REASONS}
    return Standing(found.get((None, False), 0), held, found.get((None, True), 0))


def held_counts(row: PromptImport) -> dict[HeldFor, int]:
    """How many prompts each step held."""
    return {reason: row.counts[f"held_{reason}"] for reason in REASONS if row.counts.get(f"held_{reason}")}


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
        yield csv_of(None, lines).encode(errors="backslashreplace")  # a row may hold half of a surrogate pair
