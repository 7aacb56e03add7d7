"""A claimed run at the edge between database and training: its inputs as folders and rows, its steps reported."""

import logging
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.errors import DomainError
from app.core.storage import get_artefacts
from app.datasets import service as datasets
from app.datasets.models import Snapshot
from app.prefixes.models import Prefix
from app.registry.models import Model
from app.runs import service
from app.runs.configs import RunConfig
from app.runs.models import Run, RunInput
from app.runs.schemas import PLANS, SUBJECT
from app.runs.service import Written
from workers.jobs.mirror import Mirror
from workers.jobs.patience import patiently
from workers.jobs.pulse import Pulse
from workers.jobs.tensorboard import Board
from workers.training.loop import Signal, Step

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Claimed:
    """A run that this worker holds. Calling it is the trainers' `on_step`."""

    run: Run
    claim: str
    config: RunConfig
    models: dict[str, Model]
    snapshots: dict[str, Snapshot]
    pulse: Pulse
    mirror: Mirror
    lap: int = 0  # a sampling run goes through its steps once for each model
    laps: int = 1
    totals: dict[int, int] = field(default_factory=dict)  # steps of each lap that has begun
    stopped_at: int | None = None
    is_warned: bool = False  # that checkpoints could not be put
    prefixes: dict[str, Prefix] = field(default_factory=dict)
    board: Board = field(init=False)

    def __post_init__(self) -> None:
        self.board = Board(self.run, lambda text: self.log(text, level="warning"))

    @property
    def subject(self) -> Model:
        """The model that the run is about, and the parent of what it makes."""
        return self.models[SUBJECT[self.run.kind]]

    @property
    def checkpoints(self) -> Path:
        return self.mirror.folder

    @property
    def out(self) -> Path:
        return get_artefacts().working_folder(f"unfinished/{self.run.id}") / "model"

    def model_folder(self, part: str) -> Path:
        return folder_of(self.models[part])

    def optional_folder(self, part: str) -> Path | None:
        return folder_of(self.models[part]) if part in self.models else None

    def examples(self, part: str) -> Sequence[Any]:
        """The rows of a snapshot; none where the run was given no such part."""
        return datasets.read_examples(self.snapshots[part]) if part in self.snapshots else ()

    def log(self, text: str, *, level: str = "info") -> None:
        patiently(lambda session: service.log(session, self.run.id, text, level=level))

    def note(self, text: str) -> None:
        patiently(lambda session: service.set_note(session, self.run.id, claim=self.claim, note=text))

    def __call__(self, step: Step) -> Signal:
        """Keep a step's figures; stop when someone asked, when the worker shuts down, or when the claim is lost."""
        number, total = self._place(step)
        samples = [Written(s.prompt, s.before, s.after, s.reward_before, s.reward_after) for s in step.samples]
        asked = patiently(
            lambda session: service.record_step(
                session, self.run.id, claim=self.claim, step=number, total=total, metrics=step.metrics, samples=samples,
                checkpointed=step.checkpointed,
            )
        )  # fmt: skip
        self.board.add(number, step.metrics)
        self.keep()
        if number == total or not (asked or self.pulse.is_shutting_down):
            return Signal.CONTINUE
        self.stopped_at = number
        return Signal.STOP

    def _place(self, step: Step) -> tuple[int, int]:
        """A step among those of all laps: laps may differ in length, and what others take is guessed by this one."""
        self.totals[self.lap] = step.total
        totals = [self.totals.get(lap, step.total) for lap in range(self.laps)]
        return sum(totals[: self.lap]) + step.number, sum(totals)

    def keep(self, *, leaving: bool = False) -> None:
        """What was checkpointed, into a store that other machines read. One that is away for now ends no run."""
        try:
            self.mirror.leave() if leaving else self.mirror.put()
        except DomainError as error:
            logger.warning("the checkpoints of run %s were not put into the store", self.run.id, exc_info=error)
            if not self.is_warned:
                self.log(f"The checkpoint stays on this machine for now. {error.message}", level="warning")
            self.is_warned = True

    def clear_up(self) -> None:
        """The model is stored: what led to it is no longer needed."""
        self.mirror.clear_up()
        shutil.rmtree(self.out.parent, ignore_errors=True)


def folder_of(model: Model) -> Path:
    assert model.storage_key is not None, f"{model.name} is not ready"
    return get_artefacts().folder(model.storage_key)


def open_claimed(run: Run, pulse: Pulse) -> Claimed:
    """The run with its config and inputs read."""
    assert run.claimed_by is not None
    models, snapshots, prefixes = patiently(lambda session: read_inputs(session, run.id))
    config = PLANS[run.kind].model_validate(run.config)
    mirror = Mirror(get_artefacts(), f"checkpoints/{run.id}")
    mirror.fetch()
    return Claimed(run, run.claimed_by, config, models, snapshots, pulse, mirror, prefixes=prefixes)


def read_inputs(session: Session, run_id: uuid.UUID) -> tuple[dict[str, Model], dict[str, Snapshot], dict[str, Prefix]]:
    models, snapshots, prefixes = {}, {}, {}
    for row in session.scalars(select(RunInput).where(RunInput.run_id == run_id)):
        if row.model_id is not None:
            models[row.part] = session.get_one(Model, row.model_id)
        if row.snapshot_id is not None:
            snapshots[row.part] = session.get_one(Snapshot, row.snapshot_id)
        if row.prefix_id is not None:
            prefixes[row.part] = session.get_one(Prefix, row.prefix_id)
    return models, snapshots, prefixes
