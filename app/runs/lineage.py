"""Where a model comes from: its runs, their snapshots and settings, back to the base and to every label."""

import uuid
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.datasets.models import Snapshot
from app.projects.models import Project
from app.registry import service as registry
from app.registry.models import Model, ModelKind, ModelState
from app.runs import curves, history
from app.runs.history import Input
from app.runs.judged import Judged, judged
from app.runs.models import Run


@dataclass(frozen=True, slots=True)
class Generation:
    """A model, the run that made it, and what that run read."""

    model: Model
    run: Run | None
    kind: str
    inputs: list[Input]


@dataclass(frozen=True, slots=True)
class Family:
    model: Model
    line: list[Generation]  # the model itself first, the base last
    children: list[Model]
    figures: list[tuple[str, str]]
    judged: Judged | None


def family(session: Session, project: Project, model_id: uuid.UUID) -> Family:
    model = registry.model_of_project(session, project, model_id)
    line = [_generation(session, each) for each in [model, *registry.ancestors(session, model)]]
    figures = [(key.replace("_", " "), curves.number(value)) for key, value in model.metrics.items()
               if isinstance(value, int | float)]  # fmt: skip
    of_reward = judged(model) if model.kind == ModelKind.reward and model.state == ModelState.ready else None
    return Family(model, line, registry.descendants(session, model), figures, of_reward)


def _generation(session: Session, model: Model) -> Generation:
    run = session.get(Run, model.run_id) if model.run_id else None
    return Generation(model, run, history.title(run) if run else "", history.inputs_of(session, run) if run else [])


def labels_in_words(snapshot: Snapshot) -> str:
    """`512 demonstrations by 4 labelers`; `222 rankings, 1,330 pairs, by 5 labelers, 200 simulated`."""
    counts = snapshot.counts
    noun = {"comparisons": "rankings"}.get(snapshot.kind.value, snapshot.kind.value)
    parts = [f"{snapshot.rows:,} {noun}"]
    if counts.get("pairs"):
        parts.append(f"{counts['pairs']:,} pairs")
    if counts.get("labelers"):
        parts.append(f"by {counts['labelers']} labeler{'s' if counts['labelers'] != 1 else ''}")
    if counts.get("simulated"):
        parts.append(f"{counts['simulated']:,} simulated")
    return ", ".join(parts)
