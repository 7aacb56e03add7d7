"""What an admin may set for a project's labeling desk and datasets."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import Person
from app.core.errors import Invalid
from app.core.storable import storable
from app.projects.models import Project


class ProjectSettings(BaseModel):
    """Zero switches a limit off. The titles and descriptions are the words of the settings page."""

    model_config = ConfigDict(extra="ignore", frozen=True)  # a setting of another version is no error

    amend_minutes: int = Field(
        60,
        ge=0,
        le=10_080,
        title="Minutes to amend",
        description="How long after submitting a labeler may correct a label. The first version is kept. 0: never.",
    )
    disturbing_per_day: int = Field(
        20,
        ge=0,
        le=1_000,
        title="Disturbing items a day",
        description="The most items that one labeler gets in a day whose prompt is marked as disturbing. 0: no limit.",
    )
    break_after_minutes: int = Field(
        50,
        ge=0,
        le=480,
        title="Minutes of work before a break",
        description="After so much work without a pause, the desk suggests one. 0: never.",
    )
    show_own_agreement: bool = Field(
        True,
        title="Labelers see their own agreement",
        description="How often they rank two completions as other labelers do. Nobody sees another's.",
    )
    show_own_gold: bool = Field(
        True,
        title="Labelers see their own results on known answers",
        description="The share they got right, never which items had a known answer.",
    )
    must_accept_guidelines: bool = Field(
        True,
        title="Guidelines must be accepted",
        description="A labeler reads and accepts the version of a batch before the first item under it.",
    )
    use_case_votes: int = Field(
        1,
        ge=1,
        le=9,
        title="Labelers who must agree on a use case",
        description="So many must say the same of a prompt of unknown use case, and more than say anything else.",
    )
    licence: str = Field(
        "",
        max_length=200,
        title="Licence of the datasets",
        description="What others may do with them, such as CC-BY-4.0. New snapshots say it in their datasheet.",
    )

    @field_validator("licence")
    @classmethod
    def _on_one_line(cls, licence: str) -> str:
        return " ".join(storable(licence).split())


def settings_of(project: Project) -> ProjectSettings:
    return ProjectSettings.model_validate(project.settings)


def change_settings(session: Session, project: Project, typed: Mapping[str, str], *, by: Person) -> ProjectSettings:
    """Store what a form says; a box that is not ticked is not sent."""
    fields = ProjectSettings.model_fields
    sent: dict[str, Any] = {
        name: name in typed if field.annotation is bool else typed.get(name, "") for name, field in fields.items()
    }
    try:
        wanted = ProjectSettings.model_validate(sent)
    except ValidationError as error:
        wrong = {str(part["loc"][0]): part["msg"] for part in error.errors()}
        titled = {fields[name].title or name: words for name, words in wrong.items()}
        raise Invalid("The settings were not stored.", mend="Mend these fields.", fields=titled) from error
    before, now = settings_of(project).model_dump(), wanted.model_dump()
    session.add(project)
    project.settings = now
    session.flush()
    changed = {name: [before[name], value] for name, value in now.items() if before[name] != value}
    if changed:
        audit.record(session, by, "project.settings", subject=project, changed=changed)
    return wanted
