"""A project in which every kind of run takes seconds, and what a run left behind, to compare with another's."""

import hashlib
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from celery import Celery
from sqlalchemy import func, select

from app.core.db import reading, writing
from app.core.embedded_redis import short_socket
from app.core.queue import JobName, Queue
from app.core.storage import Artefacts
from app.labeling import service as labeling
from app.labeling.models import Batch, Completion, Item
from app.projects.models import Project
from app.prompts import service as prompts
from app.prompts.models import Split
from app.registry.models import Model
from app.runs.models import Run, RunMetric
from tests.factories import make_model, make_person, make_project, make_prompt
from tests.system.installation import Installation
from tests.system.labelers import Labelers
from tests.system.loop import Loop, first_admin
from tests.workers.tiny import WORDS, save_base, tiny_config

CONTEXT = 256
LENGTHS = {"max_prompt_tokens": 60, "threads": 1, "seed": 7}
TRAINING = LENGTHS | {"learning_rate": 1e-3, "checkpoint_every": 20, "max_completion_tokens": 60}
# Steps enough that a kill lands in the middle: some 150 short ones, or 20 longer ones.
SETTINGS: dict[str, dict[str, object]] = {
    "sft": TRAINING | {"batch_size": 1, "micro_batch_size": 1, "epochs": 6, "dropout": 0.1},
    "reward_model": TRAINING | {"batch_size": 1, "micro_batch_size": 1, "epochs": 6, "max_completion_tokens": 150},
    "ppo": TRAINING
    | {"batch_size": 8, "minibatch_size": 8, "micro_batch_size": 8, "episodes": 160, "ptx_tokens": 32,
       "max_completion_tokens": 24, "checkpoint_every": 4, "evaluate_every": 10, "evaluation_prompts": 4},
    "sampling": LENGTHS
    | {"batch_size": 4, "prompts": 24, "completions_per_prompt": 4, "max_completion_tokens": 100,
       "batch_kind": "evaluation", "overlap": 6, "group": "everyone"},
}  # fmt: skip
KILLED_AT = {"sft": 50, "reward_model": 50, "ppo": 7, "sampling": 2}
"""A step in the middle, some way behind a checkpoint."""


@dataclass(frozen=True, slots=True)
class Left:
    """All that a run leaves behind, but for names and times."""

    weights: dict[str, str]
    metrics: list[tuple[int, dict[str, float]]]
    completions: list[tuple[str, int, str, int]]
    models: int
    batches: int
    items: int


class World:
    """The project, and its runs as an admin starts them."""

    def __init__(self, here: Installation, loop: Loop, base: Model) -> None:
        self.here, self.loop, self.base = here, loop, base
        self.undisturbed = cache(self._undisturbed)

    def start(self, kind: str) -> uuid.UUID:
        """A run of this kind: each the same as the last but for its name and its time."""
        return self.loop.start(kind, **SETTINGS[kind] | self._parts(kind))

    def _parts(self, kind: str) -> dict[str, object]:
        if kind in ("sft", "sampling"):
            return {"part_base" if kind == "sft" else "part_model": self.base.id}
        sft = self.loop.model_of(self.undisturbed("sft"))
        if kind == "reward_model":
            self.rankings()
            return {"part_base": sft.id}
        return {"part_policy": sft.id, "part_reward_model": self.loop.model_of(self.undisturbed("reward_model")).id}

    def _undisturbed(self, kind: str) -> Run:
        return self.loop.wait(self.start(kind), seconds=120)

    @cache  # noqa: B019  one world in a test session
    def rankings(self) -> None:
        """Every training prompt's completions, ranked once and in peace."""
        run = self.loop.run("sampling", **SETTINGS["sampling"] | {
            "part_model": self.base.id, "batch_kind": "ranking", "overlap": 1, "prompts": 40,
            "max_completion_tokens": 24}, seconds=120)  # fmt: skip
        with Labelers(self.here.address, self.loop.engine, self.loop.slug, 2) as labelers:
            labelers.work_to_the_end()
        assert labelers.acknowledged_in(self.loop, run) == 36

    def left_by(self, run_id: uuid.UUID) -> Left:
        scraps = [self.here.folder / "artefacts" / kind / str(run_id) for kind in ("checkpoints", "unfinished")]
        self.here.wait_for(
            lambda: not any(each.exists() for each in scraps), what="the run's scraps to be cleared away"
        )
        with reading(self.loop.engine) as session:
            steps = session.scalars(select(RunMetric).where(RunMetric.run_id == run_id).order_by(RunMetric.step))
            written = session.scalars(select(Completion).where(Completion.run_id == run_id))
            models = session.scalars(select(Model).where(Model.run_id == run_id)).all()
            batches = session.scalars(select(Batch.id).where(Batch.run_id == run_id)).all()
            items = session.scalar(select(func.count()).select_from(Item).where(Item.batch_id.in_(batches)))
            return Left(
                weights=self._digests(models),
                metrics=[(row.step, _but_times(row.values)) for row in steps],
                completions=sorted((str(c.prompt_id), c.number, c.text, c.tokens) for c in written),
                models=len(models),
                batches=len(batches),
                items=items or 0,
            )

    def _digests(self, models: "list[Model] | tuple[Model, ...]") -> dict[str, str]:
        folders = [self.here.folder / "artefacts" / str(model.storage_key) for model in models]
        files = [file for folder in folders for file in sorted(folder.glob("*.safetensors"))]
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    def send_again(self, run_id: uuid.UUID) -> None:
        """One more message about a run, before all that wait."""
        with Celery(broker=f"redis+socket://{short_socket(self.here.folder / 'redis.sock')}") as celery:
            celery.send_task(JobName.run.value, args=[str(run_id)], queue=Queue.touchstone.value)

    def close(self) -> None:
        self.loop.admin.close()
        self.loop.engine.dispose()


def _but_times(values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if "second" not in name}


def make_world(here: Installation, folder: Path) -> World:
    """24 training, 12 validation and 12 test prompts, a demonstration of each but the last, plain text, a tiny base."""
    loop = Loop(here, first_admin(here))
    with writing(loop.engine) as session:
        project = make_project(session)
        author = make_person(session)
        for number, (one, other) in enumerate((one, other) for one in WORDS for other in WORDS[:4]):
            split = (Split.train, Split.train, Split.valid, Split.test)[number % 4]
            prompt = make_prompt(session, project, text=f"A {one} and a {other}.", split=split)
            if split != Split.test:
                labeling.record_demonstration(session, prompt, author, f"Once there was a {one}. The {other} ran.")
        texts = [(f"The {one} saw the {other}. " * 4, Split.train) for one in WORDS for other in WORDS]
        prompts.add_texts(session, project, texts, source="test")
        base = _add_base(here, session.merge(project), make_model(session, project, name="tiny"), folder)
        loop.slug = project.slug
    return World(here, loop, base)


def _add_base(here: Installation, project: Project, model: Model, folder: Path) -> Model:
    store = Artefacts(str(here.folder / "artefacts"), cache=folder)
    model.storage_key, model.parameters, model.context = f"models/{model.id}", 30_000, CONTEXT
    store.put_folder(model.storage_key, save_base(folder / "tiny", tiny_config(max_position_embeddings=CONTEXT)))
    return model
