"""Erasing a person: their data goes, their labels stay under a pseudonym."""

import secrets

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts import service as accounts
from app.accounts.models import (
    ApiToken,
    Person,
    PersonState,
    ProviderIdentity,
    RecoveryCode,
    Role,
    SecondFactor,
    SignIn,
    SignInLink,
)
from app.core.clock import now
from app.core.errors import Conflict, Invalid
from app.labeling.leases import give_place_back
from app.labeling.models import Assignment, AssignmentState, SelfAssessment
from app.projects.models import ProjectMember
from app.webhooks.models import Letter, LetterWish

_OF_A_PERSON = (
    SignIn, SignInLink, ApiToken, SecondFactor, RecoveryCode, ProviderIdentity, LetterWish, Letter, SelfAssessment,
    ProjectMember,
)  # fmt: skip


def erase(session: Session, person: Person, *, typed_name: str, by: Person) -> str:
    """Replace name and address by a pseudonym, which is returned. This can't be taken back."""
    session.refresh(person, with_for_update=True)
    if person.erased_at is not None:
        raise Conflict("This person was erased already.")
    if " ".join(typed_name.split()) != " ".join(person.name.split()):
        raise Invalid("That is not the person's name.", mend="Type it as it stands on this page; nothing was erased.",
                      fields={"name": f"Type {person.name}"})  # fmt: skip
    if person.role == Role.admin and not accounts.count_admins(session, besides=person):
        raise Conflict("This is the last admin.", mend="Make someone else an admin first.")
    pseudonym = f"Erased {secrets.token_hex(4)}"
    person.name = pseudonym
    person.email = f"{pseudonym.lower().replace(' ', '-')}@erased.invalid"
    person.password_hash = None
    person.preferences = {}
    person.state = PersonState.paused
    person.erased_at = now()
    for table in _OF_A_PERSON:
        session.execute(delete(table).where(table.person_id == person.id))
    _drop_drafts(session, person)
    audit.record(session, by if by.id != person.id else None, "person.erase", subject=person)
    session.flush()
    return pseudonym


def _drop_drafts(session: Session, person: Person) -> None:
    """What was begun and not handed in is nobody's label: its text goes, its place is free again."""
    mine = select(Assignment).where(Assignment.person_id == person.id)
    for assignment in session.scalars(mine.where(Assignment.state != AssignmentState.submitted)):
        assignment.draft = None
        if assignment.state == AssignmentState.leased:
            assignment.state = AssignmentState.expired
            give_place_back(session, assignment)
    drafts = session.scalars(mine.where(Assignment.state == AssignmentState.submitted, Assignment.draft.is_not(None)))
    for assignment in drafts:
        assignment.draft = None
