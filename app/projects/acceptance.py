"""Who has read and accepted which version of the guidelines."""

import difflib
import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from app.accounts.models import Person, PersonState, Role
from app.core.clock import now
from app.core.errors import NotFound
from app.projects.models import Guidelines, GuidelinesAcceptance, Project, ProjectMember
from app.projects.settings import settings_of

# Demonstrations and rankings may go by the same text: nobody is asked to read it twice.
_ACCEPTED_TEXT = (
    select(GuidelinesAcceptance.guidelines_id)
    .join(Guidelines, Guidelines.id == GuidelinesAcceptance.guidelines_id)
    .where(GuidelinesAcceptance.person_id == bindparam("person_id"), Guidelines.project_id == bindparam("project_id"))
    .where(Guidelines.text == bindparam("text"))
    .limit(1)
)
# Nothing takes an acceptance back, so a process asks once for each: person and guidelines.
_known_accepted: set[tuple[uuid.UUID, uuid.UUID]] = set()


def must_accept(session: Session, person: Person, project: Project, guidelines: Guidelines | None) -> bool:
    """Whether the person has to read this version before they label under it."""
    if guidelines is None or not settings_of(project).must_accept_guidelines:
        return False
    if (person.id, guidelines.id) in _known_accepted:
        return False
    asked = {"person_id": person.id, "project_id": project.id, "text": guidelines.text}
    if session.connection().execute(_ACCEPTED_TEXT, asked).first() is None:
        return True
    _known_accepted.add((person.id, guidelines.id))
    return False


def accept(session: Session, person: Person, project: Project, guidelines_id: uuid.UUID) -> Guidelines:
    """Note that the person has read this version; once, however often it is said."""
    guidelines = session.get(Guidelines, guidelines_id)
    if guidelines is None or guidelines.project_id != project.id:
        raise NotFound("There are no such guidelines in this project.", mend="Go back to your desk.")
    if session.get(GuidelinesAcceptance, (guidelines.id, person.id)) is None:
        session.add(GuidelinesAcceptance(guidelines_id=guidelines.id, person_id=person.id, accepted_at=now()))
        session.flush()
    return guidelines


def accepted_before(session: Session, person: Person, guidelines: Guidelines) -> Guidelines | None:
    """The newest earlier version of the same guidelines that the person has accepted."""
    query = (
        select(Guidelines)
        .join(GuidelinesAcceptance, GuidelinesAcceptance.guidelines_id == Guidelines.id)
        .where(GuidelinesAcceptance.person_id == person.id, Guidelines.project_id == guidelines.project_id)
        .where(Guidelines.kind == guidelines.kind, Guidelines.version < guidelines.version)
        .order_by(Guidelines.version.desc())
        .limit(1)
    )
    return session.scalar(query)


def changes(before: Guidelines, after: Guidelines) -> list[tuple[str, str]]:
    """What is new ("+") and what is gone ("-"), line by line in the order of the text."""
    lines = difflib.ndiff(before.text.splitlines(), after.text.splitlines())
    return [(line[0], line[2:]) for line in lines if line[0] in "+-" and line[2:].strip()]


def count_accepted(session: Session, project: Project) -> dict[uuid.UUID, int]:
    """How many people have accepted each version."""
    query = select(GuidelinesAcceptance.guidelines_id, func.count()).join(
        Guidelines, Guidelines.id == GuidelinesAcceptance.guidelines_id
    )
    rows = session.execute(
        query.where(Guidelines.project_id == project.id).group_by(GuidelinesAcceptance.guidelines_id)
    )
    return dict(rows.all())


@dataclass(frozen=True, slots=True)
class Readers:
    accepted: list[tuple[Person, datetime]]
    waiting: list[Person]  # labelers of the project who have not


def readers_of(session: Session, project: Project, guidelines: Guidelines) -> Readers:
    query = (
        select(Person, GuidelinesAcceptance.accepted_at)
        .join(GuidelinesAcceptance, GuidelinesAcceptance.person_id == Person.id)
        .where(GuidelinesAcceptance.guidelines_id == guidelines.id)
        .order_by(GuidelinesAcceptance.accepted_at, Person.id)
    )
    accepted = [(person, at) for person, at in session.execute(query)]
    known = {person.id for person, _ in accepted}
    labelers = (
        select(Person)
        .join(ProjectMember, ProjectMember.person_id == Person.id)
        .where(ProjectMember.project_id == project.id, Person.role == Role.labeler)
        .where(Person.state.in_([PersonState.active, PersonState.screening]))
        .order_by(Person.name)
    )
    return Readers(accepted, [person for person in session.scalars(labelers) if person.id not in known])
