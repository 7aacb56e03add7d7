"""The life of an import: draft → queued → running → done | stopped | failed, in its row, for any number of workers."""

import uuid
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from app.accounts import audit
from app.accounts.models import Person
from app.core.clock import is_far, now
from app.core.config import get_settings
from app.core.cursors import rows_after
from app.core.errors import Conflict, Invalid, NotFound
from app.core.queue import JobName, enqueue
from app.projects.models import Project
from app.prompts.intake.settings import PAPER, HubSource, ImportSettings
from app.prompts.models import ImportState, PromptImport, Stage
from app.prompts.readers import ImportFormat
from app.prompts.service import take_turns
from app.webhooks.models import Event
from app.webhooks.service import publish

MAX_ATTEMPTS = 5  # claims in a row that ended without getting further
NUDGE_TAKES = timedelta(seconds=3)
AT_WORK = (ImportState.queued, ImportState.running)


class ClaimLost(Conflict):
    """Another worker has this import now: stop, and leave the row alone."""


# What a person does with an import


def import_of_project(session: Session, project: Project, import_id: uuid.UUID) -> PromptImport:
    row = session.get(PromptImport, import_id)
    if row is None or row.project_id != project.id:
        raise NotFound("There is no such import in this project.")
    return row


def last_settings(session: Session, project: Project) -> ImportSettings:
    """Those of the project's last import; for its first the paper's."""
    query = select(PromptImport.settings).where(
        PromptImport.project_id == project.id, PromptImport.state.not_in([ImportState.draft, ImportState.discarded])
    )
    found = session.scalar(query.order_by(PromptImport.created_at.desc()).limit(1))
    return ImportSettings.model_validate(found or PAPER)


def imports_of(
    session: Session, project: Project, *, after: uuid.UUID | None = None, limit: int = 50
) -> tuple[list[PromptImport], uuid.UUID | None]:
    """The newest first, and the cursor for those behind; what was discarded is left out."""
    here = (PromptImport.project_id == project.id, PromptImport.state != ImportState.discarded)
    return rows_after(session, select(PromptImport).where(*here), PromptImport, after=after, limit=limit)


def add_draft(
    session: Session,
    project: Project,
    *,
    by: Person,
    name: str,
    form: ImportFormat,
    settings: ImportSettings,
    upload_key: str,
    size: int,
) -> PromptImport:
    """A file that was sent. Nothing of it is in the pool before somebody starts it."""
    row = PromptImport(
        project_id=project.id, created_by=by.id, name=name, format=form, upload_key=upload_key, size=size,
        settings=settings.model_dump(mode="json"),
    )  # fmt: skip
    session.add(row)
    session.flush()
    audit.record(session, by, "prompts.upload", subject=row, name=name, size=size)
    return row


def add_from_hub(session: Session, project: Project, source: HubSource, *, by: Person) -> PromptImport:
    """A dataset that a worker is to fetch; then it is a draft as any file is."""
    if not get_settings().use_hub:
        raise Invalid("Datasets of the Hub are switched off here.", mend="TOUCHSTONE_USE_HUB switches them on.")
    row = PromptImport(
        project_id=project.id, created_by=by.id, name=source.dataset, format=ImportFormat.jsonl, settings={},
        hub=source.model_dump(), stage=Stage.fetch,
    )  # fmt: skip
    session.add(row)
    _queue(session, row)
    audit.record(session, by, "prompts.fetch", subject=row, **row.hub)
    return row


def hub_key(row: PromptImport) -> str:
    """Where what was fetched lies."""
    return f"uploads/{row.project_id}/{row.id}"


def choose(session: Session, row: PromptImport, settings: ImportSettings) -> None:
    """Set how a draft is to be taken."""
    row = locked(session, row)
    must_be(row, ImportState.draft)
    row.settings = settings.model_dump(mode="json")


def start(session: Session, row: PromptImport, *, by: Person) -> None:
    row = locked(session, row)
    must_be(row, ImportState.draft)
    _queue(session, row)
    audit.record(session, by, "prompts.import", subject=row, name=row.name, settings=row.settings)


def ask_to_stop(session: Session, row: PromptImport, *, by: Person) -> None:
    """Stop after the rows that are at hand. Asking twice changes nothing."""
    row = locked(session, row)
    if row.state == ImportState.queued:
        _end(session, row, ImportState.stopped)
    elif row.state == ImportState.running:
        row.is_stop_asked = True
    else:
        must_be(row, *AT_WORK)
    audit.record(session, by, "prompts.import.stop", subject=row)


def resume(session: Session, row: PromptImport, *, by: Person) -> None:
    """Go on where a stopped or failed import was."""
    row = locked(session, row)
    must_be(row, ImportState.stopped, ImportState.failed)
    row.attempts, row.error, row.finished_at = 0, None, None
    _queue(session, row)
    audit.record(session, by, "prompts.import.continue", subject=row)


def must_be(row: PromptImport, *states: ImportState) -> None:
    """Conflict: it is in another state."""
    if row.state not in states:
        raise Conflict(f"This import is {row.state}.", mend=f"That can be done while it is {' or '.join(states)}.")


def locked(session: Session, row: PromptImport) -> PromptImport:
    """The import as it is now, which nobody else changes before the transaction's end."""
    query = select(PromptImport).where(PromptImport.id == row.id).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one()


def _queue(session: Session, row: PromptImport) -> None:
    row.state, row.claimed_by, row.heartbeat_at, row.queued_at = ImportState.queued, None, None, now()
    row.is_stop_asked, row.note = False, ""
    session.flush()
    enqueue(session, JobName.import_prompts, row.id)


def _end(session: Session, row: PromptImport, state: ImportState, *, error: str | None = None) -> None:
    row.state, row.finished_at, row.claimed_by, row.error, row.note = state, now(), None, error, ""
    row.is_stop_asked = False
    if state in (ImportState.done, ImportState.failed, ImportState.stopped):
        publish(session, row.project_id, Event.import_finished, id=row.id, name=row.name, state=state,
                error=error, counts=row.counts)  # fmt: skip


# What a worker does with one


def is_going(row: type[PromptImport]) -> ColumnElement[bool]:
    """The condition that an import was discarded, and not all of it is removed yet."""
    return and_(row.state == ImportState.discarded, row.upload_key.is_not(None))


def claim(session: Session, import_id: uuid.UUID, *, worker: str) -> PromptImport | None:
    """Take a queued import; none where another delivery was faster, or another import of its project is at work or on
    its way out: they are compared with the pool, so they go one after the other."""
    project_id = session.scalar(select(PromptImport.project_id).where(PromptImport.id == import_id))
    if project_id is None:
        return None
    take_turns(session, project_id)
    other = aliased(PromptImport)
    is_busy = or_(other.state == ImportState.running, is_going(other))
    others = select(other.id).where(other.project_id == project_id, is_busy)
    taken = session.execute(
        update(PromptImport)
        .where(PromptImport.id == import_id, PromptImport.state == ImportState.queued, ~others.exists())
        .values(
            state=ImportState.running,
            claimed_by=f"{worker}#{uuid.uuid4().hex[:8]}",
            attempts=PromptImport.attempts + 1,
            heartbeat_at=now(),
            started_at=func.coalesce(PromptImport.started_at, now()),
        )
        .execution_options(synchronize_session=False)
    )
    if not taken.rowcount:  # type: ignore[attr-defined]
        return None
    return session.get_one(PromptImport, import_id, populate_existing=True)


def held(session: Session, import_id: uuid.UUID, claim: str) -> PromptImport:
    """The import, locked, if `claim` still holds it."""
    query = select(PromptImport).where(
        PromptImport.id == import_id, PromptImport.claimed_by == claim, PromptImport.state == ImportState.running
    )
    row = session.scalar(query.with_for_update().execution_options(populate_existing=True))
    if row is None:
        raise ClaimLost("Another worker has taken this import over.")
    return row


def beat(session: Session, import_id: uuid.UUID, *, claim: str) -> None:
    """Say that the import is alive."""
    query = update(PromptImport).where(PromptImport.id == import_id, PromptImport.claimed_by == claim)
    session.execute(query.values(heartbeat_at=now()).execution_options(synchronize_session=False))


def progress(session: Session, import_id: uuid.UUID, *, claim: str, **values: Any) -> bool:
    """Keep how far it has come. Whether it is to stop."""
    row = held(session, import_id, claim)
    for name, value in values.items():
        setattr(row, name, value)
    row.heartbeat_at = now()
    return row.is_stop_asked


def look_over(session: Session, import_id: uuid.UUID, *, claim: str, settings: ImportSettings, **fetched: Any) -> None:
    """What was fetched is here: it waits for somebody to look at its first rows."""
    row = held(session, import_id, claim)
    for name, value in fetched.items():
        setattr(row, name, value)
    row.settings, row.stage = settings.model_dump(mode="json"), Stage.check
    _end(session, row, ImportState.draft)
    row.finished_at, row.started_at, row.attempts = None, None, 0


def finish(session: Session, import_id: uuid.UUID, *, claim: str) -> str | None:
    """All of it is in the pool. Returns the upload, which may be removed once this is committed."""
    row = held(session, import_id, claim)
    _end(session, row, ImportState.done)
    key, row.upload_key = row.upload_key, None
    audit.record(session, None, "prompts.import.done", subject=row, name=row.name, **row.counts)
    return key


def stop(session: Session, import_id: uuid.UUID, *, claim: str) -> None:
    _end(session, held(session, import_id, claim), ImportState.stopped)


def fail(session: Session, import_id: uuid.UUID, *, claim: str, reason: str) -> None:
    _end(session, held(session, import_id, claim), ImportState.failed, error=reason)


def give_back(session: Session, import_id: uuid.UUID, *, claim: str) -> None:
    """The worker is shutting down: the import waits for the next one."""
    row = held(session, import_id, claim)
    row.attempts = max(0, row.attempts - 1)
    _queue(session, row)


# What time puts right


def sweep(session: Session, *, workers: int, at: datetime | None = None) -> int:
    """Hand on the imports whose worker went silent, and send lost nudges again, one for each of `workers` that has
    nothing to do. Returns how many were handed on."""
    at = at or now()
    is_silent = is_far(PromptImport.heartbeat_at, at, timedelta(seconds=get_settings().stale_after_seconds))
    silent = select(PromptImport).where(PromptImport.state == ImportState.running, is_silent)
    rows = list(session.scalars(silent.with_for_update(skip_locked=True)))
    for row in rows:
        _end_abandoned(session, row)
    busy = session.scalar(select(func.count()).where(PromptImport.state == ImportState.running)) or 0
    waiting = select(PromptImport.id).where(
        PromptImport.state == ImportState.queued, is_far(PromptImport.queued_at, at, NUDGE_TAKES)
    )
    for import_id in session.scalars(waiting.order_by(PromptImport.queued_at).limit(max(0, workers - busy))):
        enqueue(session, JobName.import_prompts, import_id)
    return len(rows)


def _end_abandoned(session: Session, row: PromptImport) -> None:
    if row.is_stop_asked:
        _end(session, row, ImportState.stopped)
    elif row.attempts >= MAX_ATTEMPTS:
        _end(session, row, ImportState.failed, error=(
            f"Its worker died {row.attempts} times in a row at the same place. Too little memory is the usual cause: "
            "look at the worker's own output. “Continue” tries again from there."
        ))  # fmt: skip
    else:
        _queue(session, row)
