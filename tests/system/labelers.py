"""Labelers who don't give up: each in a thread of their own, with a book of what the server acknowledged."""

import random
import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import httpx
from sqlalchemy import Engine, func, select

from app.accounts import service as accounts
from app.accounts.deps import COOKIE
from app.core.db import reading, writing
from app.labeling.models import Assignment, Batch, Item
from app.projects.service import project_by_slug
from app.runs.models import Run
from tests.factories import make_person
from tests.system.loop import Loop

PATIENCE = 240  # tries of a request, a quarter of a second apart


class Labelers:
    """`with Labelers(address, engine, slug, 6):` begins; they end when nothing is left for them, or with the block."""

    def __init__(self, address: str, engine: Engine, slug: str, count: int) -> None:
        self.address, self.slug = address, slug
        self.acknowledged: dict[str, dict[str, int]] = {}  # assignment: rank by letter
        self.unanswered = 0  # requests that were sent again because no answer came
        self._tokens = self._enlist(engine, count)
        self._stop = threading.Event()
        self._news = threading.Condition()

    def _enlist(self, engine: Engine, count: int) -> list[str]:
        with writing(engine) as session:
            project = project_by_slug(session, self.slug)
            return [accounts.start_session(session, make_person(session, project=project)) for _ in range(count)]

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(len(self._tokens))
        self._work: list[Future[None]] = [
            self._pool.submit(self._label, token, number) for number, token in enumerate(self._tokens)
        ]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()

    def work_to_the_end(self) -> None:
        """Until nothing is left for any of them; fails with what failed in a thread."""
        for each in self._work:
            each.result(180)

    def wait_for_next(self) -> float:
        """Until one more submission is acknowledged; the seconds that took."""
        began = time.monotonic()
        with self._news:
            count = len(self.acknowledged)
            self._news.wait_for(lambda: len(self.acknowledged) > count or self._has_ended(), timeout=60)
            assert len(self.acknowledged) > count, [each.exception() for each in self._work if each.done()]
        return time.monotonic() - began

    def _has_ended(self) -> bool:
        return any(each.done() for each in self._work)

    def acknowledged_in(self, loop: Loop, run: Run) -> int:
        """How many of the acknowledged submissions are of the run's batch."""
        mine = [uuid.UUID(each) for each in self.acknowledged]
        query = select(func.count()).select_from(Assignment).join(Item, Item.id == Assignment.item_id)
        query = query.join(Batch, Batch.id == Item.batch_id).where(Batch.run_id == run.id, Assignment.id.in_(mine))
        with reading(loop.engine) as session:
            return session.scalar(query) or 0

    def _browser(self, token: str) -> httpx.Client:
        return httpx.Client(base_url=self.address, cookies={COOKIE: token}, timeout=30)

    def _label(self, token: str, number: int) -> None:
        chance = random.Random(number)
        with self._browser(token) as client:
            while not self._stop.is_set():
                desk = self._send(client, "GET", f"/api/v1/projects/{self.slug}/desk")
                if rules := desk["guidelines_to_accept"]:
                    self._send(client, "POST", f"/api/v1/projects/{self.slug}/guidelines/{rules['id']}/accept")
                    continue
                assignment = desk["assignment"]
                if assignment is None:
                    return
                self._submit(client, assignment, chance)

    def _submit(self, client: httpx.Client, assignment: Mapping[str, Any], chance: random.Random) -> None:
        """Submit, and one time in three again, as a browser does whose answer got lost."""
        address = f"/api/v1/assignments/{assignment['id']}/submit"
        letters = [each["letter"] for each in assignment["completions"]]
        ranks = dict(zip(letters, chance.sample(range(1, len(letters) + 1), len(letters)), strict=True))
        body = {"submission_key": assignment["submission_key"], "ranks": ranks}
        stored = self._send(client, "POST", address, json=body)
        with self._news:
            assert assignment["id"] not in self.acknowledged, "the desk handed out what was submitted before"
            self.acknowledged[assignment["id"]] = ranks
            self._news.notify_all()
        if chance.random() < 1 / 3:
            assert self._send(client, "POST", address, json=body) == stored, "sent again, it was stored differently"

    def _send(self, client: httpx.Client, method: str, path: str, **content: Any) -> dict[str, Any]:
        """The answer, asked for until there is one: the server may be away."""
        for _ in range(PATIENCE):
            try:
                answer = client.request(method, path, **content)
            except httpx.TransportError:
                self.unanswered += 1
                self._stop.wait(0.25)
                continue
            assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
            found: dict[str, Any] = answer.json()
            return found
        raise AssertionError(f"{method} {path}: no answer")
