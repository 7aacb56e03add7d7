"""The audit log: who changed which state. It is only ever added to; the database itself refuses the rest."""

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from app.accounts.models import AuditEvent, Person
from app.core.cursors import rows_after
from app.core.db import Identified
from app.core.errors import Invalid

SHOWN = 100
SYSTEM = "system"  # as the filter and the page call who is nobody


def record(session: Session, person: Person | None, action: str, *, subject: Identified, **details: Any) -> None:
    """Add one line: `person` (none: the system) did `action` to `subject`."""
    session.add(
        AuditEvent(
            person_id=person.id if person else None,
            action=action,
            subject_id=subject.id,
            subject_kind=type(subject).__name__.lower(),
            details=details,
        )
    )


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """What an admin looks for, as it was typed; empty: anything."""

    who: str = ""  # part of a name or an address, or `system`
    action: str = ""  # how it begins: `person.`, `run.stop`
    subject: str = ""  # its id
    first: str = ""
    last: str = ""


@dataclass(frozen=True, slots=True)
class AuditLine:
    event: AuditEvent
    who: str


def read_log(
    session: Session, wanted: AuditFilter, *, after: uuid.UUID | None = None
) -> tuple[list[AuditLine], uuid.UUID | None]:
    """The newest lines that the filter takes, and the cursor for those behind."""
    query = select(AuditEvent).where(*_conditions(wanted))
    events, cursor = rows_after(session, query, AuditEvent, after=after, limit=SHOWN)
    ids = {event.person_id for event in events}
    people = {person.id: person for person in session.scalars(select(Person).where(Person.id.in_(ids)))}
    return [AuditLine(each, people[each.person_id].name if each.person_id else "the system") for each in events], cursor


def _conditions(wanted: AuditFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.who.strip().lower() == SYSTEM:
        found.append(AuditEvent.person_id.is_(None))
    elif who := wanted.who.strip().lower():
        named = func.lower(Person.name).contains(who, autoescape=True) | Person.email.contains(who, autoescape=True)
        found.append(AuditEvent.person_id.in_(select(Person.id).where(named)))
    if action := wanted.action.strip():
        found.append(AuditEvent.action.startswith(action, autoescape=True))
    if subject := wanted.subject.strip():
        found.append(AuditEvent.subject_id == _id(subject))
    if wanted.first:
        found.append(AuditEvent.created_at >= _midnight(wanted.first, "first"))
    if wanted.last:
        found.append(AuditEvent.created_at < _midnight(wanted.last, "last", behind=1))
    return found


def _id(typed: str) -> uuid.UUID:
    try:
        return uuid.UUID(typed)
    except ValueError as error:
        raise Invalid("That is no id.", fields={"subject": "Copy one from a line or from an address."}) from error


def _midnight(typed: str, field: str, *, behind: int = 0) -> datetime:
    """The beginning of that day, or of one so many days behind it."""
    try:
        return datetime.combine(date.fromisoformat(typed) + timedelta(days=behind), time(), UTC)
    except (ValueError, OverflowError) as error:
        raise Invalid("That is no day.", fields={field: "Write it as 2027-01-31."}) from error
