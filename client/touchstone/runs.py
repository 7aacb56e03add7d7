"""Runs: followed, waited for, stopped and continued."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from touchstone.connection import Connection
from touchstone.records import Step, read

FINAL = frozenset({"succeeded", "failed", "cancelled"})


class RunFailed(Exception):
    """A run that was waited for ended otherwise than with success."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it was when it was asked for; `refreshed()` asks again.

    While it is queued, `ahead` go before it and `waits` says why. `device`: any, gpu or cpu. `memory_on_gpu` and
    `memory_on_cpu`: bytes it needs at least there.
    """

    id: str
    name: str
    kind: str
    state: str
    step: int
    total_steps: int | None
    note: str
    priority: str
    device: str
    memory_on_gpu: int
    memory_on_cpu: int
    ahead: int | None
    waits: str | None
    error: str | None
    config: dict[str, Any]
    inputs: list[dict[str, Any]]
    models: list[str]
    result: dict[str, Any]
    code_version: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    connection: Connection = field(repr=False, compare=False)

    @property
    def is_over(self) -> bool:
        return self.state in FINAL

    def refreshed(self) -> "Run":
        return read(Run, self.connection.get(f"/api/v1/runs/{self.id}"), connection=self.connection)

    def steps(self, after: int = 0) -> Iterator[Step]:
        """Every step there is by now, oldest first."""
        while rows := self.connection.get(f"/api/v1/runs/{self.id}/metrics", after=after)["rows"]:
            for row in rows:
                yield Step(row["step"], row["values"])
            after = rows[-1]["step"]

    def follow(self, *, every: float = 2.0) -> Iterator[Step]:
        """Each step as it comes, until the run is over. `every`: seconds between looks."""
        after = 0
        while True:
            is_over = self.refreshed().is_over  # asked first: steps that come in between are not missed
            for step in self.steps(after):
                after = step.step
                yield step
            if is_over:
                return
            time.sleep(every)

    def wait(self, *, every: float = 2.0) -> "Run":
        """The run when it has succeeded. RunFailed where it ends otherwise."""
        run = self.refreshed()
        while not run.is_over:
            time.sleep(every)
            run = run.refreshed()
        if run.state != "succeeded":
            raise RunFailed(f"“{run.name}” is {run.state}. {run.error or ''}".rstrip())
        return run

    def log(self) -> Iterator[str]:
        """The lines of its log, oldest first."""
        return (line["text"] for line in self.connection.pages(f"/api/v1/runs/{self.id}/log"))

    def prioritize(self, priority: str) -> "Run":
        """Move it in the line: high, normal or low. For admins."""
        said = self.connection.post(f"/api/v1/runs/{self.id}/priority", {"priority": priority})
        return read(Run, said, connection=self.connection)

    def stop(self) -> "Run":
        """Ask it to stop at its next step."""
        return self._told("stop")

    def resume(self) -> "Run":
        """Queue it again, after it was stopped or has failed: it goes on from its last checkpoint."""
        return self._told("continue")

    def _told(self, what: str) -> "Run":
        said = self.connection.post(f"/api/v1/runs/{self.id}/{what}", again=False)
        return read(Run, said, connection=self.connection)
