"""Labelers who work on through every fault, and note what they were told when their work was not taken."""

import random
import threading
import uuid
from collections.abc import Mapping
from typing import Any

import httpx
from sqlalchemy import func, select

from app.core.db import reading
from app.labeling.models import Assignment, AssignmentState, Batch, Item, Ranking
from app.projects.models import Project
from tests.system.labelers import Labelers
from tests.system.test_labeling import ranks_by_letter

THINKING = (0.02, 0.2)  # seconds between two items
AT_ONCE = 400


class People(Labelers):
    """They end only with the block. `refusals` are the answers that were no success: status and body."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.refusals: list[tuple[str, int, str]] = []
        self.checked: set[str] = set()

    def work_to_the_end(self) -> None:
        """What is under way is handed in, and no more is taken."""
        self._enough = True
        for each in self._work:
            each.result(120)

    _enough = False

    def failures(self) -> list[str]:
        return [f"a labeler gave up: {each.exception()!r}" for each in self._work if each.done() and each.exception()]

    def _label(self, token: str, number: int) -> None:
        chance = random.Random(number)
        with self._browser(token) as client:
            client.timeout = httpx.Timeout(10)
            while not (self._enough or self._stop.is_set()):
                assignment = self._send(client, "GET", f"/api/v1/projects/{self.slug}/desk")["assignment"]
                if assignment is not None:
                    self._submit(client, assignment, chance)
                threading.Event().wait(chance.uniform(*THINKING))

    def _send(self, client: httpx.Client, method: str, path: str, **content: Any) -> dict[str, Any]:
        while not self._stop.is_set():
            try:
                answer = client.request(method, path, **content)
            except httpx.TransportError:
                self.unanswered += 1
                self._stop.wait(0.1)
                continue
            if answer.status_code < 500:
                assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
                found: dict[str, Any] = answer.json()
                return found
            self.refusals.append((f"{method} {path}", answer.status_code, answer.text))
            self._stop.wait(0.1)
        raise AssertionError(f"{method} {path}: not answered before the end")

    def check(self, engine: Any, *, again: bool = False) -> list[str]:
        """What is wrong with the acknowledged submissions in the database; those found right before are passed over."""
        known = dict(self.acknowledged)
        new = [each for each in known if again or each not in self.checked]
        wrong = unlike(engine, {each: known[each] for each in new})
        self.checked |= set(new)
        return wrong


def unlike(engine: Any, known: Mapping[str, dict[str, int]]) -> list[str]:
    """The acknowledged submissions that are not stored, or otherwise, or more than once."""
    wrong, all_of_them = [], list(known)
    for start in range(0, len(all_of_them), AT_ONCE):
        part = all_of_them[start : start + AT_ONCE]
        stored = stored_ranks(engine, part)
        wrong += [f"{each}: {known[each]} was acknowledged, {stored[each]} is stored" for each in part
                  if stored[each] != [known[each]]]  # fmt: skip
    return wrong


def stored_ranks(engine: Any, assignments: list[str]) -> Mapping[str, list[dict[str, int]]]:
    """Every ranking of each assignment, by the letters that its labeler saw."""
    found: dict[str, list[dict[str, int]]] = {each: [] for each in assignments}
    with reading(engine) as session:
        for ranking in session.scalars(select(Ranking).where(Ranking.assignment_id.in_(map(uuid.UUID, assignments)))):
            found[str(ranking.assignment_id)].append(ranks_by_letter(session, ranking))
    return found


def doubled(engine: Any) -> list[str]:
    """Assignments with more than one ranking, and items whose counts are not those of their judgments."""
    with reading(engine) as session:
        counted = select(Ranking.assignment_id).group_by(Ranking.assignment_id).having(func.count() > 1)
        twice = [f"assignment {each} has two rankings" for each in session.scalars(counted)]
        submitted = (
            select(Assignment.item_id, func.count().label("got"))
            .where(Assignment.state == AssignmentState.submitted)
            .group_by(Assignment.item_id)
            .subquery()
        )
        wrong = select(Item.id).outerjoin(submitted, submitted.c.item_id == Item.id)
        wrong = wrong.where(Item.got != func.coalesce(submitted.c.got, 0))
        return twice + [f"item {each} counts other judgments than it has" for each in session.scalars(wrong)]


def unacknowledged(engine: Any, people: People) -> int:
    """Rankings in the people's project that nobody was told of."""
    with reading(engine) as session:
        query = (
            select(Ranking.assignment_id).join(Item, Item.id == Ranking.item_id).join(Batch, Batch.id == Item.batch_id)
        )
        query = query.join(Project, Project.id == Batch.project_id).where(Project.slug == people.slug)
        stored = {str(each) for each in session.scalars(query)}
    return len(stored - people.acknowledged.keys())
