"""Turns of the loop, driven through the pages as an admin would, and read back from the database."""

import json
import uuid
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine, select

from app import tables  # noqa: F401  the metadata must be whole before the first query
from app.core.db import make_engine, reading
from app.labeling.models import Completion
from app.prompts.models import Prompt
from app.registry.models import Model
from app.runs.models import Run, RunMetric, RunState
from tests.system.forms import submit
from tests.system.installation import Installation

DONE = {RunState.succeeded, RunState.failed, RunState.cancelled}


class Loop:
    """One project of an installation, and the admin's browser."""

    def __init__(self, here: Installation, admin: httpx.Client, slug: str = "starter") -> None:
        self.here, self.admin, self.slug = here, admin, slug
        self.engine: Engine = make_engine(here.database)

    def start(self, kind: str, **changes: object) -> uuid.UUID:
        """Make a run from the form's suggestions and `changes`; `part_x` stands for the part x."""
        fields = {
            name.replace("part_", "part.", 1) if name.startswith("part_") else name: str(value)
            for name, value in changes.items()
        }
        page = submit(self.admin, f"/p/{self.slug}/runs/new/{kind}", **fields)
        return uuid.UUID(page.url.path.rsplit("/", 1)[1])

    def run_row(self, run_id: uuid.UUID) -> Run:
        with reading(self.engine) as session:
            return session.get_one(Run, run_id)

    def wait(self, run_id: uuid.UUID, *, seconds: float = 900) -> Run:
        """Until the run has ended; fails unless it succeeded."""
        self.here.wait_for(lambda: self.run_row(run_id).state in DONE, what=f"run {run_id}", seconds=seconds)
        run = self.run_row(run_id)
        assert run.state == RunState.succeeded, f"{run.name} {run.state}: {run.error}"
        return run

    def wait_for_step(self, run_id: uuid.UUID, step: int, *, seconds: float = 300) -> Run:
        def has_come() -> bool:
            run = self.run_row(run_id)
            assert run.state not in DONE, f"{run.name} {run.state} before step {step}: {run.error}"
            return run.step >= step

        self.here.wait_for(has_come, what=f"step {step}", seconds=seconds)
        return self.run_row(run_id)

    def run(self, kind: str, *, seconds: float = 900, **changes: object) -> Run:
        return self.wait(self.start(kind, **changes), seconds=seconds)

    def model(self, **by: Any) -> Model:
        with reading(self.engine) as session:
            return session.scalars(select(Model).filter_by(**by)).one()

    def model_of(self, run: Run) -> Model:
        return self.model(run_id=run.id)

    def wait_for_base(self) -> Model:
        self.here.wait_for(lambda: self.model(source="starter").state == "ready", what="the starter model", seconds=90)
        return self.model(source="starter")

    def metrics(self, run: Run) -> list[dict[str, float]]:
        with reading(self.engine) as session:
            rows = session.scalars(select(RunMetric).where(RunMetric.run_id == run.id).order_by(RunMetric.step))
            return [row.values for row in rows]

    def completions(self, run: Run) -> list[tuple[Completion, Prompt]]:
        with reading(self.engine) as session:
            rows = session.execute(
                select(Completion, Prompt)
                .join(Prompt, Prompt.id == Completion.prompt_id)
                .where(Completion.run_id == run.id)
            )
            return [(completion, prompt) for completion, prompt in rows]

    def simulate(self, rankings: int, *, seed: int = 0) -> str:
        return self.here.touchstone(
            "simulate", "--project", self.slug, "--labelers", "5", "--rankings", str(rankings), "--seed", str(seed)
        )


def first_admin(here: Installation) -> httpx.Client:
    return here.browse(here.first_admin_link)


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
