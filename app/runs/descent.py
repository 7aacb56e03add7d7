"""Which models hold something of a snapshot: those that were trained on it, and those that came of these in any way."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.datasets.models import Snapshot
from app.projects.models import Project
from app.registry.models import Model
from app.runs.models import Run, RunInput
from app.runs.schemas import PARTS


@dataclass(frozen=True, slots=True)
class Descendant:
    model: Model
    by: str  # the part that what it came of played in its run
    of: str  # what that was: a snapshot, or a model that is a descendant itself


def trained_on(session: Session, project: Project, snapshots: Iterable[Snapshot]) -> list[Descendant]:
    """Those whose run read one of these snapshots, and theirs, each once and after what it came of."""
    return _closure(session, project, {each.id: f"{each.kind.value}@{each.sha256[:8]}" for each in snapshots})


def made_of_model(session: Session, project: Project, model: Model) -> list[Descendant]:
    """Those whose run read this model, in any part, and theirs."""
    return _closure(session, project, {model.id: model.name})


def _closure(session: Session, project: Project, newest: dict[uuid.UUID, str]) -> list[Descendant]:
    found: dict[uuid.UUID, Descendant] = {}
    while newest:
        made = [each for each in _made_of(session, project, newest) if each.model.id not in found]
        found |= {each.model.id: each for each in made}
        newest = {each.model.id: each.model.name for each in made}
    return list(found.values())


def _made_of(session: Session, project: Project, read: dict[uuid.UUID, str]) -> list[Descendant]:
    """The models of the runs that read these snapshots or models."""
    query = (
        select(Model, RunInput, Run.kind)
        .join(Run, Run.id == Model.run_id)
        .join(RunInput, RunInput.run_id == Run.id)
        .where(Run.project_id == project.id, or_(RunInput.snapshot_id.in_(read), RunInput.model_id.in_(read)))
        .order_by(Model.id, RunInput.part)
    )
    made: dict[uuid.UUID, Descendant] = {}
    for model, row, kind in session.execute(query):
        labels = {part.name: part.label for part in PARTS[kind]}
        source = row.snapshot_id or row.model_id
        assert source is not None, "an input is one of the two"
        made.setdefault(model.id, Descendant(model, labels.get(row.part, row.part).lower(), read[source]))
    return list(made.values())
