"""Snapshots: frozen once, named by their content, read by runs and downloads alike."""

import hashlib
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, BinaryIO

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import Person
from app.core.cursors import rows_after
from app.core.errors import Invalid, NotFound
from app.core.storage import Artefacts, get_artefacts
from app.datasets.datasheet import describe
from app.datasets.examples import Demonstration, Prompt, Ranking, Text
from app.datasets.gathering import count, gather
from app.datasets.models import Snapshot, SnapshotKind
from app.datasets.rows import Row
from app.datasets.schemas import SnapshotFilter, read_filter
from app.datasets.tally import Tally
from app.projects.models import Project
from app.webhooks.models import Event
from app.webhooks.service import publish

IN_MEMORY = 16 * 2**20
NOUNS = {
    SnapshotKind.demonstrations: "demonstrations",
    SnapshotKind.comparisons: "rankings",
    SnapshotKind.prompts: "prompts",
    SnapshotKind.text: "plain texts",
}


def freeze(
    session: Session,
    project: Project,
    kind: SnapshotKind,
    wanted: Mapping[str, Any] | SnapshotFilter,
    *,
    refuse_empty: bool = False,
    artefacts: Artefacts | None = None,
) -> Snapshot:
    """A dataset as it is now, its file in the store; `keep` makes it a row. This takes seconds, so a session that reads
    does it, from one state of the database (`reading_one_state`), while labelers write."""
    from app.datasets import parquet

    wanted = wanted if isinstance(wanted, SnapshotFilter) else read_filter(wanted)
    tally = Tally()
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as spool:
        file: BinaryIO = spool  # type: ignore[assignment]
        facts = {"kind": kind.value, "schema_version": parquet.SCHEMA_VERSION, "filter": wanted.stored()}
        rows = tally.watch(gather(session, project, kind, wanted))
        parquet.write_rows(file, rows, parquet.COLUMNS[kind], facts=facts)
        if refuse_empty and not tally.rows:
            raise Invalid(
                f"There are no {NOUNS[kind]} like that, so nothing was frozen.", mend="Choose a wider filter."
            )
        digest = _digest(file)
        key = _store(artefacts or get_artefacts(), digest, file)
    return Snapshot(
        project_id=project.id,
        kind=kind,
        filter=wanted.stored(),
        sha256=digest,
        rows=tally.rows,
        counts=tally.counts(),
        schema_version=parquet.SCHEMA_VERSION,
        storage_key=key,
        datasheet=describe(session, project, kind, wanted, tally),
    )


def keep(session: Session, snapshot: Snapshot, by: Person | None) -> Snapshot:
    """What was frozen, kept for good: the row that is there already where the same filter found the same labels."""
    if (known := _by_digest(session, snapshot)) is not None:
        return known
    snapshot.created_by = by.id if by else None
    with suppress(IntegrityError), session.begin_nested():  # unless another transaction has just kept the very same
        session.add(snapshot)
        session.flush()
        audit.record(session, by, "snapshot.freeze", subject=snapshot, sha256=snapshot.sha256, rows=snapshot.rows)
        publish(session, snapshot.project_id, Event.snapshot_frozen, id=snapshot.id, kind=snapshot.kind,
                sha256=snapshot.sha256, rows=snapshot.rows)  # fmt: skip
        return snapshot
    known = _by_digest(session, snapshot)
    assert known is not None, "the constraint that refused it names it"
    return known


def _by_digest(session: Session, snapshot: Snapshot) -> Snapshot | None:
    return session.scalar(
        select(Snapshot).where(
            Snapshot.project_id == snapshot.project_id,
            Snapshot.kind == snapshot.kind,
            Snapshot.sha256 == snapshot.sha256,
        )
    )


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while block := file.read(2**20):
        digest.update(block)
    return digest.hexdigest()


def _store(artefacts: Artefacts, digest: str, file: BinaryIO) -> str:
    key = f"snapshots/{digest}.parquet"
    if not artefacts.exists(key):
        file.seek(0)
        with artefacts.writing(key) as target:
            while block := file.read(2**20):
                target.write(block)
    return key


def count_rows(session: Session, project: Project, kind: SnapshotKind, wanted: Mapping[str, Any]) -> int:
    """How many rows a snapshot would have now."""
    return count(session, project, kind, read_filter(wanted))


def snapshots_of(session: Session, project: Project, kind: SnapshotKind | None = None) -> list[Snapshot]:
    """The project's snapshots, newest first."""
    query = select(Snapshot).where(Snapshot.project_id == project.id).order_by(Snapshot.created_at.desc())
    return list(session.scalars(query.where(Snapshot.kind == kind) if kind else query))


def snapshots_after(
    session: Session, project: Project, kind: SnapshotKind | None, *, after: uuid.UUID | None, limit: int
) -> tuple[list[Snapshot], uuid.UUID | None]:
    """The next snapshots behind this one, the newest first, and the cursor for those behind them."""
    query = select(Snapshot).where(Snapshot.project_id == project.id)
    query = query.where(Snapshot.kind == kind) if kind else query
    return rows_after(session, query, Snapshot, after=after, limit=limit)


def creators(session: Session, snapshots: list[Snapshot]) -> dict[uuid.UUID, str]:
    """The names of the people who froze these."""
    query = select(Person.id, Person.name).where(Person.id.in_({each.created_by for each in snapshots}))
    return {person_id: name for person_id, name in session.execute(query)}  # noqa: C416  as mypy reads it


def snapshot_of_project(session: Session, project: Project, snapshot_id: uuid.UUID) -> Snapshot:
    snapshot = session.get(Snapshot, snapshot_id)
    if snapshot is None or snapshot.project_id != project.id:
        raise NotFound("There is no such snapshot in this project.", mend="Choose one under Datasets.")
    return snapshot


def snapshot_rows(
    snapshot: Snapshot, artefacts: Artefacts | None = None, *, columns: Sequence[str] | None = None
) -> Iterator[Row]:
    """Every row, with every column or with these, straight from the artefact."""
    from app.datasets.parquet import read_rows

    with (artefacts or get_artefacts()).reading(snapshot.storage_key) as file:
        yield from read_rows(file, columns)


def read_examples(snapshot: Snapshot, artefacts: Artefacts | None = None) -> list[Any]:
    """What training reads: the snapshot's rows as the examples of its kind."""
    make = _EXAMPLES[snapshot.kind]
    return [make(row) for row in snapshot_rows(snapshot, artefacts)]


def _demonstration(row: Row) -> Demonstration:
    return Demonstration(row["id"], row["messages"], row["completion"], row["split"])


def _ranking(row: Row) -> Ranking:
    return Ranking(
        id=row["id"],
        prompt_id=row["prompt_id"],
        messages=row["messages"],
        completions=row["completions"],
        ranks=row["ranks"],
        split=row["split"],
        labeler=row["labeler"],
        group=row["group"],
    )


def _prompt(row: Row) -> Prompt:
    return Prompt(row["id"], row["messages"], row["split"])


def _text(row: Row) -> Text:
    return Text(row["text"], row["split"])


_EXAMPLES: dict[SnapshotKind, Any] = {
    SnapshotKind.demonstrations: _demonstration,
    SnapshotKind.comparisons: _ranking,
    SnapshotKind.prompts: _prompt,
    SnapshotKind.text: _text,
}
