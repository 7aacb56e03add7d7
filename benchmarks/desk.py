"""How a labeler works at Touchstone's desk: sign in, get the next item by page or by API, hand a ranking in."""

import random
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from benchmarks.http import Client

PASSWORD = "three red boats"  # noqa: S105  of people who live for a minute
_ON_PAGE = re.compile(rb'data-assignment="([0-9a-f-]{36})"')
_KEY = re.compile(rb'name="submission_key" value="([^"]+)"')
_LETTER = re.compile(rb' data-letter="([A-Z])"')


@dataclass(frozen=True, slots=True)
class Task:
    """An assignment as the labeler got it."""

    id: str
    key: str
    letters: list[str]


@dataclass(slots=True)
class Desk:
    """One labeler's desk. `way` is `page` (the HTML that people see) or `api` (the same as JSON)."""

    client: Client
    slug: str
    way: str
    chance: random.Random
    before: str = ""

    async def sign_in(self, email: str) -> None:
        form = urlencode({"email": email, "password": PASSWORD}).encode()
        await self.client.send("POST", "/sign-in", form, kind="application/x-www-form-urlencoded")

    async def next(self) -> Task | None:
        if self.way == "api":
            found = (await self.client.send_json("GET", f"/api/v1/projects/{self.slug}/desk"))["assignment"]
            return found and Task(
                found["id"], found["submission_key"], [each["letter"] for each in found["completions"]]
            )
        page = await self.client.send("GET", f"/p/{self.slug}/desk{self.before}", Accept="text/html")
        here = _ON_PAGE.search(page)
        if here is None:
            return None
        key = _KEY.search(page)
        assert key is not None, "a bench without a submission key"
        return Task(here[1].decode(), key[1].decode(), [each.decode() for each in _LETTER.findall(page)])

    def judge(self, task: Task) -> dict[str, Any]:
        """Ranks with a tie now and then, a rating for each completion, and flags for some."""
        chance, letters = self.chance, task.letters
        ratings = {}
        for letter in letters:
            flags = ["hallucination"] if chance.random() < 0.2 else []
            ratings[letter] = {"likert": {"overall": chance.randint(1, 7)}, "flags": flags}
        ranks = {letter: chance.randint(1, len(letters)) for letter in letters}
        return {"submission_key": task.key, "ranks": ranks, "ratings": ratings, "active_seconds": 60}

    async def submit(self, task: Task, judgment: dict[str, Any]) -> tuple[str, dict[str, int]]:
        """Hand in, and return the assignment with the ranks that the server says it stored."""
        answer = await self.client.send_json("POST", f"/api/v1/assignments/{task.id}/submit", judgment)
        assert answer["stored"] is True, answer
        self.before = f"?after={task.id}"
        ranks: dict[str, int] = answer["ranks"]
        return task.id, ranks
