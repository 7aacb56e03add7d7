"""An import that is not done, taken back: it ends at once, and what has arrived of it goes part by part."""

import uuid
from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, delete, func, select
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import Person
from app.core.clock import now
from app.core.db import writing
from app.core.errors import Conflict
from app.core.storage import get_artefacts
from app.prompts.intake import service
from app.prompts.models import ImportState, Prompt, PromptImport

ROWS_AT_ONCE, PARTS_AT_ONCE = 500, 40


def discard(session: Session, row: PromptImport, *, by: Person) -> None:
    """End it for good. It keeps the key of its upload until all of it is gone. Conflict: some of it is in use."""
    row = service.locked(session, row)
    service.must_be(row, ImportState.draft, ImportState.stopped, ImportState.failed)
    _refuse_in_use(session, row)
    row.state, row.finished_at = ImportState.discarded, now()
    row.upload_key = row.upload_key or service.hub_key(row)
    removed = session.scalar(select(func.count()).select_from(Prompt).where(_never_in_use(row.id)))
    audit.record(session, by, "prompts.import.discard", subject=row, removed=removed)


def _refuse_in_use(session: Session, row: PromptImport) -> None:
    """What is in use may be in a batch already: only a person withdraws it, knowing which."""
    in_use = select(func.count()).where(Prompt.import_id == row.id, Prompt.is_retired.is_(False))
    if count := session.scalar(in_use):
        raise Conflict(
            f"{count:,} prompt{' of this import is' if count == 1 else 's of this import are'} in use already.",
            mend="Continue it, so that the rest comes into use too; or withdraw what is in use, then discard it.",
        )


def remove_next(import_id: uuid.UUID) -> None:
    """Remove the next parts of a discarded import, each in a transaction, so that others write between two, and with
    the last its upload. The sweep goes on with what is left of a large one, or of one that broke off."""
    for _ in range(PARTS_AT_ONCE):
        with writing() as session:
            row = service.locked(session, session.get_one(PromptImport, import_id))
            key, is_gone = row.upload_key, not _remove_part(session, row)
        if is_gone:
            if key:
                get_artefacts().remove(
                    key
                )  # before it is forgotten: a store may be away, and removing twice is nothing
                with writing() as session:
                    service.locked(session, session.get_one(PromptImport, import_id)).upload_key = None
            return


def _remove_part(session: Session, row: PromptImport) -> int:
    ids = session.scalars(select(Prompt.id).where(_never_in_use(row.id)).limit(ROWS_AT_ONCE)).all()
    session.execute(delete(Prompt).where(Prompt.id.in_(ids)).execution_options(synchronize_session=False))
    return len(ids)


def _never_in_use(import_id: uuid.UUID) -> ColumnElement[bool]:
    """The condition that a prompt of this import was still held when it was discarded."""
    return and_(Prompt.import_id == import_id, Prompt.held_for.is_not(None))


def left_half(session: Session) -> Sequence[uuid.UUID]:
    """The discarded imports of which something is left."""
    return session.scalars(select(PromptImport.id).where(service.is_going(PromptImport))).all()
