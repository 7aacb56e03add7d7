"""Imports of prompts: started, followed, stopped, gone on with, and what each left out."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from touchstone.connection import Connection, checked
from touchstone.records import read

AT_WORK = frozenset({"queued", "running"})


class ImportFailed(Exception):
    """An import that was waited for ended before it was done."""


@dataclass(frozen=True, slots=True)
class PromptImport:
    """An import as it was when it was asked for; `refreshed()` asks again.

    `state`: draft, queued, running, stopped, failed, done or discarded. `position` of `total` rows are dealt with in
    its `stage`. `counts`: rows taken, duplicate and refused, prompts that each step changed (`changed_...`) and held
    (`held_...`).
    """

    id: str
    name: str
    format: str
    size: int
    state: str
    stage: str
    position: int
    total: int | None
    counts: dict[str, int]
    note: str
    error: str | None
    settings: dict[str, Any]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    slug: str = field(repr=False, compare=False)
    connection: Connection = field(repr=False, compare=False)

    @property
    def is_at_work(self) -> bool:
        return self.state in AT_WORK

    def refreshed(self) -> "PromptImport":
        return self._read(self.connection.get(self._api))

    def start(self, **changes: Any) -> "PromptImport":
        """Start a draft with its settings, or with others: `columns={"prompt": "question"}`, `most_of_one=200`, ..."""
        settings = json.loads(json.dumps({**self.settings, **changes}, default=str)) if changes else None
        return self._read(self.connection.post(f"{self._api}/start", settings, again=False))

    def follow(self, *, every: float = 2.0) -> Iterator["PromptImport"]:
        """It as it comes further, until nothing works on it any more. `every`: seconds between looks."""
        seen = None
        while True:
            now = self.refreshed()
            if now != seen:
                yield now
            if not now.is_at_work:
                return
            seen = now
            time.sleep(every)

    def wait(self, *, every: float = 2.0) -> "PromptImport":
        """The import when it is done, or a draft that was fetched. ImportFailed where it ends otherwise."""
        *_, last = self.follow(every=every)
        if last.state not in ("done", "draft"):
            raise ImportFailed(f"“{last.name}” is {last.state}. {last.error or ''}".rstrip())
        return last

    def left_out(self) -> Iterator[dict[str, Any]]:
        """Every row that was not taken: its line, the verdict, the reason and what it says; as they arrive."""
        address = f"/p/{self.slug}/prompts/imports/{self.id}/left-out.jsonl"
        with self.connection.http.stream("GET", address) as response:
            for line in checked(response).iter_lines():
                yield json.loads(line)

    def stop(self) -> "PromptImport":
        """Ask it to stop after the rows at hand."""
        return self._told("stop")

    def resume(self) -> "PromptImport":
        """Go on where it was stopped, or has failed."""
        return self._told("continue")

    def discard(self) -> "PromptImport":
        """Remove what has arrived of one that is not done. Refused (ApiError, 409) while some of it is in use
        already: then go on with it, or withdraw what is in use first."""
        return self._told("discard")

    def take_back(self, reason: str) -> "PromptImport":
        """Put into use all that a step held: length, language, personal_data, prefix, near or cap."""
        return self._told(f"held/{reason}/take-back")

    @property
    def _api(self) -> str:
        return f"/api/v1/projects/{self.slug}/prompt-imports/{self.id}"

    def _told(self, what: str) -> "PromptImport":
        return self._read(self.connection.post(f"{self._api}/{what}", again=False))

    def _read(self, said: dict[str, Any]) -> "PromptImport":
        return read(PromptImport, said, slug=self.slug, connection=self.connection)
