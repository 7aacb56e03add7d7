"""Who has read and accepted which version of the guidelines."""

import difflib
import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.core.clock import now
from app.core.errors import NotFound
from app.projects.models import Guidelines, GuidelinesAcceptance, Project
from app.projects.settings import settings_of


def must_accept(session: Session, person: Person, project: Project, guidelines: Guidelines | None) -> bool:
    """Whether the person has to read this version before they label under it."""
    if guidelines is None or not settings_of(project).must_accept_guidelines:
        return False
    # Demonstrations and rankings may go by the same text: nobody is asked to read it twice.
    same_text = (
        select(GuidelinesAcceptance.guidelines_id)
        .join(Guidelines, Guidelines.id == GuidelinesAcceptance.guidelines_id)
        .where(GuidelinesAcceptance.person_id == person.id, Guidelines.project_id == project.id)
        .where(Guidelines.text == guidelines.text)
        .limit(1)
    )
    return session.scalar(same_text) is None


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
