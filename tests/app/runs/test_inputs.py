"""What a run reads is frozen beside the labelers' work, and from one moment of it."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event, func, select

from app.accounts.models import Person
from app.core.db import get_engine, reading, writing
from app.datasets.models import Snapshot
from app.labeling.leases import lease_next
from app.labeling.models import Ranking
from app.labeling.schemas import Submission
from app.labeling.submissions import submit
from app.projects.models import Project
from app.runs import creation
from app.runs.configs import RunKind
from tests.app.datasets.labels import make_ranking
from tests.app.labeling.rows import make_ranking_batch
from tests.conftest import SignIn
from tests.factories import make_model

PATIENCE = 20  # seconds, until what waits is taken to wait for good


@contextmanager
def held_midway(engine: Engine) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Who gathers rankings says so after the first half of it, and waits to be told to go on."""
    arrived, go_on = threading.Event(), threading.Event()

    def hold(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM ranking_place" in statement and not arrived.is_set():
            arrived.set()
            go_on.wait(3 * PATIENCE)

    event.listen(engine, "before_cursor_execute", hold)
    yield arrived, go_on
    go_on.set()
    event.remove(engine, "before_cursor_execute", hold)


@pytest.fixture
def forms(project: Project, labeler: Person) -> dict[str, dict[str, str]]:
    """The forms that freeze rankings, by address, in a project with two of them and one more to make."""
    with writing() as session:
        for _ in range(2):
            make_ranking(session, project, labeler, [1, 2, 2])
        make_ranking_batch(session, project)
        base = make_model(session, project)
        config = creation.default_config(RunKind.reward_model, base).model_dump()
    run = {name: str(value) for name, value in config.items()} | {
        "part.base": str(base.id), "part.comparisons": "new", "name": ""
    }  # fmt: skip
    return {"datasets": {"kind": "comparisons", "include_simulated": "true"}, "runs/new/reward_model": run}


def rank_one(project: Project, labeler: Person) -> None:
    with writing() as session:
        assignment = lease_next(session, labeler, project)
        assert assignment is not None
        order = {"A": 1, "B": 2, "C": 3, "D": 4}
        submit(session, labeler, assignment.id, Submission(submission_key=str(uuid.uuid4()), ranks=order))


@pytest.mark.parametrize("address", ["datasets", "runs/new/reward_model"])
def test_labelers_submit_while_their_rankings_are_frozen(
    sign_in: SignIn, admin: Person, labeler: Person, project: Project, forms: dict[str, dict[str, str]], address: str
) -> None:
    client, answers = sign_in(admin), []

    def freeze() -> None:
        answers.append(client.post(f"/p/{project.slug}/{address}", data=forms[address]))

    freezing = threading.Thread(target=freeze)
    ranking = threading.Thread(target=rank_one, args=(project, labeler))
    with held_midway(get_engine()) as (arrived, go_on):
        freezing.start()
        assert arrived.wait(PATIENCE)
        ranking.start()
        ranking.join(PATIENCE)
        has_waited = ranking.is_alive()
        go_on.set()
        freezing.join(PATIENCE)
        ranking.join(PATIENCE)
    assert not has_waited
    assert [answer.status_code for answer in answers] == [303]
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Ranking)) == 3
        assert session.scalars(select(Snapshot.rows)).all() == [2], "those that were there when it began"
