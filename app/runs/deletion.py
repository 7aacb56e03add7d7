"""Deleting a model: its files go, its row and its place in every lineage stay."""

import uuid
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import Person
from app.core.errors import Conflict
from app.labeling.models import Completion
from app.projects.models import Project
from app.registry.models import Model, ModelState
from app.runs.descent import Descendant, made_of_model
from app.runs.models import Run, RunInput
from app.runs.service import FINAL

DELETABLE = (ModelState.ready, ModelState.refused)


@dataclass(frozen=True, slots=True)
class Goes:
    """What a model's deletion leaves without it."""

    descendants: list[Descendant]
    completions: int
    runs: list[Run]  # that still need its files


def what_goes(session: Session, project: Project, model: Model) -> Goes:
    written = session.scalar(select(func.count()).select_from(Completion).where(Completion.model_id == model.id))
    return Goes(made_of_model(session, project, model), written or 0, _needing(session, model))


def _needing(session: Session, model: Model) -> list[Run]:
    """Runs that read it and are not over."""
    query = select(Run).join(RunInput, RunInput.run_id == Run.id).where(RunInput.model_id == model.id)
    return list(session.scalars(query.where(Run.state.not_in(FINAL)).order_by(Run.id)))


def delete_model(session: Session, project: Project, model: Model, *, by: Person) -> str:
    """The key of the files that nothing needs any more; empty where another model's are the same."""
    if model.state not in DELETABLE:
        raise Conflict(f"{model.name} is {model.state}.", mend="Only a ready or a refused model can be deleted.")
    if needing := _needing(session, model):
        raise Conflict(f"The run “{needing[0].name}” still reads {model.name}.", mend="Wait for it, or stop it first.")
    descendants = [each.model.name for each in made_of_model(session, project, model)]
    audit.record(session, by, "model.delete", subject=model, name=model.name, descendants=descendants)
    model.state = ModelState.deleted
    session.flush()
    return "" if model.storage_key is None or _shared(session, model.id, model.storage_key) else model.storage_key


def _shared(session: Session, model_id: uuid.UUID, key: str) -> bool:
    same = select(Model.id).where(Model.storage_key == key, Model.id != model_id, Model.state != ModelState.deleted)
    return session.scalar(same.limit(1)) is not None
