"""Pausing a person's work in one project: no new items, everything else as it was."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import Session, aliased

from app.accounts import audit
from app.accounts.models import Person, Role
from app.core.clock import now
from app.core.errors import Conflict, Forbidden, Invalid
from app.core.storable import storable
from app.projects.models import Project, WorkPause

LONGEST_REASON = 2000


def is_paused_in(project_id: Any, person_id: Any) -> ColumnElement[bool]:
    """Whether a pause stands, as a condition."""
    of_both = (WorkPause.project_id == project_id, WorkPause.person_id == person_id)
    return exists().where(*of_both, WorkPause.ended_at.is_(None))


@dataclass(frozen=True, slots=True)
class Paused:
    """A pause as pages tell of it."""

    reason: str
    by: str
    ask: str  # the address of who paused; none of those who were erased
    since: datetime
    ended_at: datetime | None = None
    ended_by: str = ""


def may_pause(person: Person, *, by: Person) -> bool:
    """Leads pause labelers; admins everyone else too, but themself."""
    return person.id != by.id and person.erased_at is None and (by.role == Role.admin or person.role == Role.labeler)


def pause(session: Session, project: Project, person: Person, *, reason: str, by: Person) -> WorkPause:
    """From now on the person gets no new items here. What lies before them may still be handed in."""
    if not may_pause(person, by=by):
        raise Forbidden("This is not for you to pause.", mend="Ask an admin.")
    reason = storable(reason).strip()
    if not reason:
        raise Invalid("Please say why you pause this work.", fields={"reason": "Write a reason."})
    if len(reason) > LONGEST_REASON:
        raise Invalid("The reason is too long.", fields={"reason": f"Use up to {LONGEST_REASON} characters."})
    session.execute(select(Person.id).where(Person.id == person.id).with_for_update())  # two leads at once
    if _standing(session, project, person) is not None:
        raise Conflict(f"{person.name} is paused in this project already.", mend="Let the work go on first.")
    paused = WorkPause(project_id=project.id, person_id=person.id, reason=reason, by_id=by.id)
    session.add(paused)
    session.flush()
    said = {"project": project.name, "reason": reason}
    audit.record(session, by, "person.pause_in_project", subject=person, **said)
    return paused


def resume(session: Session, project: Project, person: Person, *, by: Person) -> None:
    """The person gets items again. Nothing happens when no pause stands."""
    if not may_pause(person, by=by):
        raise Forbidden("This is not for you to end.", mend="Ask an admin.")
    standing = _standing(session, project, person, lock=True)
    if standing is not None:
        standing.ended_at, standing.ended_by_id = now(), by.id
        audit.record(session, by, "person.resume_in_project", subject=person, project=project.name)
        session.flush()


def _standing(session: Session, project: Project, person: Person, *, lock: bool = False) -> WorkPause | None:
    query = select(WorkPause).where(WorkPause.project_id == project.id, WorkPause.person_id == person.id)
    standing = query.where(WorkPause.ended_at.is_(None))
    return session.scalar(standing.with_for_update() if lock else standing)


def pauses_of(session: Session, project: Project, person: Person) -> list[Paused]:
    """The one that stands, then those that are over, newest first."""
    by, ended_by = aliased(Person), aliased(Person)
    rows = session.execute(
        select(WorkPause, by, ended_by.name)
        .join(by, by.id == WorkPause.by_id)
        .outerjoin(ended_by, ended_by.id == WorkPause.ended_by_id)
        .where(WorkPause.project_id == project.id, WorkPause.person_id == person.id)
        .order_by(WorkPause.ended_at.is_not(None), WorkPause.created_at.desc())
    )
    return [
        Paused(
            reason=each.reason,
            by=lead.name,
            ask="" if lead.erased_at else lead.email,
            since=each.created_at,
            ended_at=each.ended_at,
            ended_by=ended or "",
        )
        for each, lead, ended in rows
    ]


def pause_of(session: Session, project: Project, person: Person) -> Paused | None:
    """The one that stands."""
    newest = next(iter(pauses_of(session, project, person)), None)
    return newest if newest and newest.ended_at is None else None


def paused_in(session: Session, project: Project) -> set[uuid.UUID]:
    """Who gets no items in this project now."""
    query = select(WorkPause.person_id).where(WorkPause.project_id == project.id, WorkPause.ended_at.is_(None))
    return set(session.scalars(query))


def projects_pausing(session: Session, person: Person) -> set[uuid.UUID]:
    """In which projects the person gets no items now."""
    query = select(WorkPause.project_id).where(WorkPause.person_id == person.id, WorkPause.ended_at.is_(None))
    return set(session.scalars(query))
