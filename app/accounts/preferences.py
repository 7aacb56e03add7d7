"""What a person does not want to see, and how they like to work."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from app.accounts.models import Person


class Content(StrEnum):
    """What a prompt may be marked with, so that nobody meets it unprepared."""

    sexual = "sexual"
    violent = "violent"
    hateful = "hateful"
    self_harm = "self_harm"
    disturbing = "disturbing"


CONTENT_IN_WORDS = {
    Content.sexual: "Sexual content",
    Content.violent: "Violence",
    Content.hateful: "Hatred against a group",
    Content.self_harm: "Self-harm and suicide",
    Content.disturbing: "Anything else that disturbs",
}


class Preferences(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)  # a preference of another version is no error

    avoided: frozenset[Content] = frozenset()  # prompts marked so never come to this person


def preferences_of(person: Person) -> Preferences:
    return Preferences.model_validate(person.preferences)


def set_preferences(session: Session, person: Person, wanted: Preferences) -> None:
    session.add(person)
    person.preferences = {"avoided": sorted(wanted.avoided)}
    session.flush()
