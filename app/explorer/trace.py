"""What a prompt or a labeler has touched: the snapshots with rows of theirs, and every model that came of these."""

import uuid
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.core.errors import Invalid
from app.datasets.tracing import Held, holding_labeler, holding_prompt
from app.projects.models import Project
from app.prompts.service import prompt_of_project
from app.quality.labeler import labeler_of
from app.runs.descent import Descendant, trained_on


@dataclass(frozen=True, slots=True)
class Trace:
    snapshots: Held
    models: list[Descendant]


@dataclass(frozen=True, slots=True)
class Traced:
    """Whose trace it is, and where to withdraw it."""

    name: str
    page: str


def traced(session: Session, project: Project, *, prompt: uuid.UUID | None, labeler: uuid.UUID | None) -> Traced:
    start = f"/p/{project.slug}"
    if prompt and not labeler:
        said = prompt_of_project(session, project, prompt).messages[-1]["content"]
        return Traced(f"“{said[:80]}”", f"{start}/explore/prompts/{prompt}")
    if labeler and not prompt:
        return Traced(labeler_of(session, project, labeler).name, f"{start}/labeling/labelers/{labeler}")
    raise Invalid("This address names neither a prompt nor a labeler.", mend="Begin at a prompt's story.")


def trace(session: Session, project: Project, *, prompt: uuid.UUID | None, labeler: uuid.UUID | None) -> Trace:
    """One of the two is given."""
    if prompt:
        held = holding_prompt(session, project, prompt_of_project(session, project, prompt))
    else:
        assert labeler is not None, "one of the two"
        held = holding_labeler(session, project, labeler_of(session, project, labeler))
    return Trace(held, trained_on(session, project, [snapshot for snapshot, _ in held]))
