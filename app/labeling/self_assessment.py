"""What a person says of themselves: the topics and groups for which they can tell sensitive speech."""

from typing import Annotated

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.labeling.models import SelfAssessment
from app.labeling.schemas import Note, Sent
from app.projects.models import Project

# The paper asks for topics and cultural groups; which ones it does not print, so these are ours.
TOPICS = {
    "violence": "Violence and crime",
    "sexual": "Sexual content",
    "self_harm": "Self-harm and suicide",
    "hate": "Hate and slurs against groups",
    "religion": "Religion",
    "politics": "Politics of my country",
    "gender": "Gender and sexual orientation",
    "ethnicity": "Ethnicity and migration",
    "disability": "Disability and illness",
    "drugs": "Drugs and addiction",
    "medical": "Medical and legal advice",
    "children": "Safety of children",
}


class SelfAssessed(Sent):
    topics: Annotated[list[str], Field(max_length=len(TOPICS))] = Field([])
    avoided: Annotated[list[str], Field(max_length=len(TOPICS))] = Field([])
    groups: Note = ""
    languages: Note = ""
    note: Note = ""


def assessment_of(session: Session, person: Person, project: Project) -> SelfAssessment | None:
    query = select(SelfAssessment).where(SelfAssessment.project_id == project.id)
    return session.scalar(query.where(SelfAssessment.person_id == person.id))


def assess(session: Session, person: Person, project: Project, said: SelfAssessed) -> SelfAssessment:
    """Keep it; said again, it is what the person says now."""
    answers = said.model_dump()
    for name in ("topics", "avoided"):
        answers[name] = [key for key in TOPICS if key in answers[name]]
    kept = assessment_of(session, person, project)
    if kept is None:
        kept = SelfAssessment(project_id=project.id, person_id=person.id)
        session.add(kept)
    kept.answers = answers
    session.flush()
    return kept
