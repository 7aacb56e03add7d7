"""An import's rows into the pool, chunk by chunk: prompts and the position that was reached, in one transaction."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from sqlalchemy import insert
from sqlalchemy.orm import Session

from app.core.clock import now
from app.core.config import get_settings
from app.core.storage import Artefacts
from app.projects.models import Project
from app.prompts.intake import service
from app.prompts.intake.looks import look_by
from app.prompts.intake.mapping import prompts_in
from app.prompts.intake.settings import ImportSettings
from app.prompts.judging import Judge, ReadRow, read_row
from app.prompts.models import HeldFor, ImportedRow, Prompt, PromptImport, Verdict
from app.prompts.readers import ImportFormat, RawRow, iterate_rows
from app.prompts.schemas import JudgedRow
from app.prompts.service import columns_of, take_turns
from app.prompts.splits import SplitBook
from app.prompts.streams import unpacked

ROWS_AT_ONCE = 500
MOST_SHOWN = 200  # rows of each verdict that the database keeps; all of them are in the report's files


def rows_of(file: BinaryIO, form: ImportFormat) -> Iterator[RawRow]:
    """The rows of an upload."""
    most = get_settings().prompt_unpacked_mib * 2**20
    return iterate_rows(file if form is ImportFormat.parquet else unpacked(file, most), form)


def read_chunk(rows: Sequence[RawRow], settings: ImportSettings) -> list[tuple[RawRow, ReadRow]]:
    """What the rows are before anybody asks the pool. This is most of the work, and holds nobody up."""
    look = look_by(settings)
    return [(raw, read_row(each, look)) for raw in rows for each in prompts_in(raw, settings)]


def take_chunk(
    session: Session,
    held: PromptImport,
    read: Sequence[tuple[RawRow, ReadRow]],
    *,
    start: int,
    position: int,
    book: SplitBook,
    store: Artefacts,
) -> bool:
    """Take what is good of a chunk from `start` to `position`. Whether the import is to stop."""
    project = session.get_one(Project, held.project_id)
    take_turns(session, project.id)
    row = service.held(session, held.id, held.claimed_by or "")
    if row.position != start:  # it was committed, and the answer got lost
        return row.is_stop_asked
    judged = list(Judge(session, project, book).judge(each for _, each in read))
    values = [_columns(project, row, each) for each in judged if each.verdict is Verdict.taken]
    if values:
        session.execute(insert(Prompt), values)
    left_out = [(raw, each) for (raw, _), each in zip(read, judged, strict=True) if each.verdict is not Verdict.taken]
    if left_out:
        _report(session, row, left_out, store)
    row.counts = dict(Counter(row.counts) + Counter(_counted(judged)))
    row.position, row.heartbeat_at, row.attempts = position, now(), 1
    return row.is_stop_asked


def _counted(judged: Sequence[JudgedRow]) -> Iterator[str]:
    for each in judged:
        yield each.verdict.value
        if each.verdict is Verdict.taken and each.looked:
            yield from (f"changed_{step}" for step in each.looked.changed)
            if each.looked.held_for:
                yield f"held_{each.looked.held_for.value}"


def _columns(project: Project, row: PromptImport, judged: JudgedRow) -> dict[str, Any]:
    """A prompt that is not in use yet: the whole import is settled at once."""
    assert judged.looked is not None
    columns = columns_of(project, judged, person_id=None, source=row.name)
    return columns | {
        "import_id": row.id,
        "import_row": judged.number,
        "is_retired": True,
        "held_for": judged.looked.held_for or HeldFor.arriving,
        "held_note": judged.looked.note,
        "fingerprint": judged.looked.fingerprint,
    }


def _report(
    session: Session, row: PromptImport, left_out: Sequence[tuple[RawRow, JudgedRow]], store: Artefacts
) -> None:
    """The first rows go into the table, all into the next file of the report. A chunk that is done again after a crash
    writes the same file anew."""
    with store.writing(report_key(row, row.report_parts)) as file:
        for raw, judged in left_out:
            said = {"line": judged.number, "verdict": judged.verdict, "reason": judged.reason, "row": raw.values}
            file.write(json.dumps(said, default=str).encode() + b"\n")
    row.report_parts += 1
    kept = Counter(row.counts)  # of the chunks before
    for _, judged in left_out:
        kept[judged.verdict] += 1
        if kept[judged.verdict] <= MOST_SHOWN:
            session.add(ImportedRow(import_id=row.id, number=judged.number, verdict=judged.verdict,
                                    reason=judged.reason[:1000], opening=judged.opening))  # fmt: skip


def report_key(row: PromptImport, part: int) -> str:
    return f"imports/{row.id}/left-out-{part:06d}.jsonl"
