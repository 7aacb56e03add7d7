"""Inviting someone, and what the page of a person tells."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import second_factor, sessions, single_sign_on
from app.accounts import service as accounts
from app.accounts.models import AuditEvent, Group, Person, Role
from app.core.errors import Invalid
from app.people.activity import Span, Work, by_week, work_by_day
from app.projects import service as projects
from app.projects.models import Project
from app.projects.pauses import projects_pausing


class Invitation(BaseModel):
    model_config = ConfigDict(extra="forbid", str_max_length=200)

    email: str = ""
    name: str = ""
    role: Role = Role.labeler
    group: Group = Group.training
    joins: Literal["active", "screening"] = "active"
    projects: list[uuid.UUID] = Field([])


def invite(session: Session, typed: Mapping[str, Any], *, by: Person) -> Person:
    """A new person in the chosen projects, to work at once or to be screened first."""
    try:
        wanted = Invitation.model_validate(dict(typed))
    except ValidationError as error:
        wrong = {".".join(map(str, part["loc"])): part["msg"] for part in error.errors()}
        raise Invalid("Nobody was invited.", mend="Mend these fields.", fields=wrong) from error
    person = accounts.add_person(
        session,
        wanted.email,
        name=wanted.name,
        role=wanted.role,
        group=wanted.group,
        is_candidate=wanted.joins == "screening",
        by=by,
    )
    for project in projects.visible_projects(session, by):
        if project.id in wanted.projects:
            projects.add_member(session, project, person, by=by)
    return person


@dataclass(frozen=True, slots=True)
class PersonOverview:
    person: Person
    projects: list[Project]
    paused_in: set[uuid.UUID]  # of these projects
    last_seen: datetime | None
    sign_ins: int
    has_second_factor: bool
    is_linked: bool  # to an account at the provider of single sign-on
    span: Span
    days: dict[date, Work]
    weeks: dict[date, Work]
    total: Work
    events: list[tuple[AuditEvent, str]]  # what was done to the account, and by whom


def overview_of(session: Session, person: Person, span: Span) -> PersonOverview:
    days = {day: work for (_, day), work in work_by_day(session, span, person).items()}
    weeks, total = by_week(days.items()), Work()
    for work in days.values():
        total.add(work)
    member_of = projects.projects_of_member(session, person)
    sign_ins = sessions.sign_ins_of(session, person)
    return PersonOverview(
        person=person,
        projects=member_of,
        paused_in=projects_pausing(session, person),
        last_seen=sign_ins[0].last_seen_at if sign_ins else None,
        sign_ins=len(sign_ins),
        has_second_factor=second_factor.is_on(session, person),
        is_linked=bool(single_sign_on.identities_of(session, person)),
        span=span,
        days=days,
        weeks=weeks,
        total=total,
        events=_events(session, person),
    )


def _events(session: Session, person: Person) -> list[tuple[AuditEvent, str]]:
    query = (
        select(AuditEvent, Person.name)
        .outerjoin(Person, Person.id == AuditEvent.person_id)
        .where(AuditEvent.subject_id == person.id, AuditEvent.subject_kind == "person")
        .order_by(AuditEvent.created_at.desc())
        .limit(20)
    )
    return [(event, name or "the system") for event, name in session.execute(query)]
