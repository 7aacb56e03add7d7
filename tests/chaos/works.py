"""Every kind of run, small, as a script asks for it, and what it left behind beside one that was not disturbed."""

import time
import uuid
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select, update

from app.accounts.models import Role
from app.benchmarks import service as benchmarks
from app.core.db import reading, writing
from app.core.storage import Artefacts
from app.labeling.models import Item
from app.prefixes.service import PrefixCreate, write_prefix
from app.projects.service import project_by_slug
from app.prompts.models import Prompt, Split
from app.runs.models import Run, RunState
from tests.app.labeling.rows import make_ranking_batch
from tests.chaos.place import Place
from tests.factories import make_person, make_project
from tests.system.labelers import Labelers
from tests.system.loop import DONE
from tests.system.world import LENGTHS, Left, World, make_world

TRAINING = LENGTHS | {"learning_rate": 1e-3, "checkpoint_every": 5, "max_completion_tokens": 60}
BATCHES = TRAINING | {"batch_size": 4, "micro_batch_size": 4}
EIGHTS = {"batch_size": 8, "minibatch_size": 8, "micro_batch_size": 8}
RL = TRAINING | EIGHTS | {"episodes": 160, "max_completion_tokens": 16, "checkpoint_every": 2, "evaluate_every": 4}
RL |= {"evaluation_prompts": 4}
SETTINGS: dict[str, dict[str, object]] = {
    "sft": BATCHES | {"epochs": 12, "dropout": 0.1},
    "reward_model": BATCHES | {"epochs": 16, "max_completion_tokens": 100},
    "cross_validation": BATCHES | {"seeds": 4, "epochs": 2, "max_completion_tokens": 100},
    "ppo": RL | {"ptx_tokens": 32},
    "dpo": BATCHES | {"epochs": 16, "max_completion_tokens": 100, "evaluate_every": 5},
    "rloo": RL | {"completions_per_prompt": 2},
    "sampling": LENGTHS
    | {"batch_size": 2, "prompts": 12, "completions_per_prompt": 4, "max_completion_tokens": 100,
       "batch_kind": "evaluation", "overlap": 1, "group": "everyone"},
    "evaluation": LENGTHS
    | {"max_prompt_tokens": 100, "max_completion_tokens": 16, "batch_size": 1, "benchmarks": ["crows_pairs"],
       "examples": "none"},
    "prefix_contest": LENGTHS | {"max_prompt_tokens": 80, "max_completion_tokens": 60, "prompts": 12, "batch_size": 2,
       "completions_per_prompt": 2},
    "reward_evaluation": LENGTHS | {"max_completion_tokens": 100, "batch_size": 1},
}  # fmt: skip
KINDS = tuple(SETTINGS)
CROWS = "sent_more,sent_less,bias_type\n" + "".join(f"The boy ran {i}.,The girl ran {i}.,gender\n" for i in range(40))
RANKERS = 3  # labelers whose rankings the runs read: a cross-validation holds one out in turn
FEW, MORE = 1000, 1500  # items: a round that waits long for its run takes some hundreds
PATIENCE = 90.0  # seconds until a run counts as stuck


class Works:
    """The runs' own project, in which nobody labels meanwhile; and another, in which people do."""

    def __init__(self, place: Place, folder: Path) -> None:
        self.place = place
        self.world: World = make_world(place, folder)
        self.loop = self.world.loop
        self.asking = place.sign_in(self.loop)
        self._whole: dict[str, tuple[Left, dict[str, Any]]] = {}
        self._slug, self._items = "", 0
        self._add_rankings(folder)

    def close(self) -> None:
        self.asking.close()
        self.world.close()

    def _add_rankings(self, folder: Path) -> None:
        store = Artefacts(str(self.place.folder / "artefacts"), cache=folder)
        with writing(self.loop.engine) as session:
            project = project_by_slug(session, self.loop.slug)
            batch = make_ranking_batch(session, project, items=12, completions=3, overlap=RANKERS)
            prompts = list(session.scalars(select(Item.prompt_id).where(Item.batch_id == batch.id)))
            session.execute(update(Prompt).where(Prompt.id.in_(prompts[::4])).values(split=Split.valid))
            admin = make_person(session, role=Role.admin)
            sent = benchmarks.take_in(store, "crows_pairs", "crows.csv", CROWS.encode())
            benchmarks.keep(session, project, sent, by=admin)
            asked = PrefixCreate(name="kind", text="Be kind.", frame="{prompt}:")
            self.prefix = write_prefix(session, project, asked, by=admin).id
        with Labelers(self.place.address, self.loop.engine, self.loop.slug, RANKERS) as labelers:
            labelers.work_to_the_end()

    def keep_items(self, labeled: int) -> str:
        """Always some that nobody has labeled yet, in a project of their own; its slug."""
        with writing(self.loop.engine) as session:
            if not self._slug:
                self._slug = make_project(session, name="Under fire").slug
            if self._items - labeled < FEW:
                make_ranking_batch(session, project_by_slug(session, self._slug), items=MORE, completions=3)
                self._items += MORE
        return self._slug

    @cached_property
    def judge(self) -> uuid.UUID:
        """A reward model that the other kinds read."""
        run = self.loop.wait(self.ask(self.asking, "reward_model", "the-judge"), seconds=120)
        return self.loop.model_of(run).id

    def _parts(self, kind: str) -> dict[str, str]:
        base = str(self.world.base.id)
        subject = {"ppo": "policy", "rloo": "policy", "sampling": "model", "evaluation": "model",
                   "prefix_contest": "model", "reward_evaluation": "reward_model"}.get(kind, "base")  # fmt: skip
        parts = {subject: base}
        if kind in ("ppo", "rloo", "prefix_contest", "reward_evaluation"):
            parts["reward_model"] = str(self.judge)
        if kind == "prefix_contest":
            parts["prefix_1"] = str(self.prefix)
        return parts

    def ask(self, client: httpx.Client, kind: str, key: str, *, seconds: float = 60) -> uuid.UUID:
        """Start a run, asked for again under the same key until the server says that it has it."""
        body = {"key": f"chaos-{key}", "kind": kind, "parts": self._parts(kind), "config": SETTINGS[kind]}
        return uuid.UUID(insist(client, f"/api/v1/projects/{self.loop.slug}/runs", body, seconds=seconds)["id"])

    def has_whole(self, kind: str) -> None:
        """Know what an undisturbed run of this kind leaves behind."""
        if kind not in self._whole:
            run = self.loop.wait(self.ask(self.asking, kind, f"whole-{kind}"), seconds=120)
            self._whole[kind] = self._left(run)

    def _left(self, run: Run) -> tuple[Left, dict[str, Any]]:
        result = {key: value for key, value in run.result.items() if "second" not in key and key != "contest"}
        return self.world.left_by(run.id), result

    def end_of(self, kind: str, run_id: uuid.UUID) -> tuple[str, list[str]]:
        """Wait for the run's end: how it ended, and what is wrong with that."""
        run = self._ended(run_id)
        how = "ended by itself"
        if run is not None and run.state == RunState.failed:
            if not run.error or "unforeseen" in run.error.lower():
                return "failed without words", [f"{kind} failed without words: {run.error}"]
            how = f"failed in words, then continued: {run.error}"
            insist(self.asking, f"/api/v1/runs/{run_id}/continue", {}, seconds=30)
            run = self._ended(run_id)
        if run is None:
            stuck = self.loop.run_row(run_id)
            return "stuck", [f"{kind} is stuck: {stuck.state}, step {stuck.step}, claimed by {stuck.claimed_by}, "
                             f"attempt {stuck.attempts}"]  # fmt: skip
        if run.state != RunState.succeeded:
            return str(run.state), [f"{kind} ended as {run.state}: {run.error}"]
        return how, self._differences(kind, run)

    def _ended(self, run_id: uuid.UUID) -> Run | None:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            self.place.keep_second_worker()
            run = self.loop.run_row(run_id)
            if run.state in DONE:
                return run
            time.sleep(0.1)
        return None

    def _differences(self, kind: str, run: Run) -> list[str]:
        """Work that was done twice, or not: whatever differs from what an undisturbed run left."""
        (left, result), (whole, whole_result) = self._left(run), self._whole[kind]
        names = [name for name in Left.__slots__ if getattr(left, name) != getattr(whole, name)]
        wrong = [f"{kind} left other {name} than one that was not disturbed" for name in names]
        if result != whole_result:
            wrong.append(f"{kind} came to another result: {result} for {whole_result}")
        return wrong

    def row(self, run_id: uuid.UUID) -> Run:
        with reading(self.loop.engine) as session:
            return session.get_one(Run, run_id)


def insist(client: httpx.Client, address: str, body: dict[str, Any], *, seconds: float) -> dict[str, Any]:
    """Send again until the server takes it: it is one that may be sent twice."""
    until, last = time.monotonic() + seconds, ""
    while time.monotonic() < until:
        try:
            answer = client.post(address, json=body)
        except httpx.TransportError as error:
            last = repr(error)
        else:
            if answer.status_code == 200:
                return dict(answer.json())
            last = f"{answer.status_code} {answer.text[:300]}"
            assert answer.status_code >= 500, f"{address}: {last}"
        time.sleep(0.2)
    raise AssertionError(f"{address}: not taken within {seconds} s; the last answer: {last}")
