"""A RabbitMQ in Redis's place: a whole installation over a real one, which dies and comes back."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from app import doctor_queue
from app.core.broker import UNREACHABLE
from app.core.config import Settings, get_settings
from app.core.db import writing
from app.core.queue import JobName, enqueue, send_now
from app.findings import State
from app.runs.models import RunState
from tests.conftest import forget_settings
from tests.ports import free_port
from tests.system.installation import Installation
from tests.system.rabbitmq import PASSWORD, RabbitMQ
from tests.system.world import KILLED_AT, World, make_world

pytestmark = pytest.mark.prove  # it has to be installed: `.ci/rabbitmq`


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    with RabbitMQ(tmp_path_factory.mktemp("rabbitmq") / "node") as rabbit:
        yield rabbit


@pytest.fixture
def world(rabbit: RabbitMQ, tmp_path: Path) -> Iterator[World]:
    with Installation(tmp_path / "var", free_port(), TOUCHSTONE_BROKER_URL=rabbit.url) as here:
        world = make_world(here, tmp_path)
        yield world
        world.close()


def _is(world: World, status: str) -> bool:
    answer = httpx.get(f"{world.here.address}/readyz")
    return bool(answer.is_success and answer.json()["status"] == status)


def test_every_run_is_done_once_though_rabbitmq_dies_and_comes_back(world: World, rabbit: RabbitMQ) -> None:
    here, loop = world.here, world.loop
    expected = world.left_by(world.undisturbed("sampling").id)
    here.wait_for(lambda: _is(world, "ready"), what="all parts to be there")
    before = {name: here.child(name).pid for name in ("web", "worker", "scheduler", "importer")}

    first, second = world.start("sft"), world.start("sampling")
    here.wait_for(lambda: loop.run_row(first).state == RunState.running, what="the first run to begin")
    assert rabbit.waiting("touchstone") == 1, "the busy worker holds the second run's message"
    loop.wait_for_step(first, KILLED_AT["sft"])
    rabbit.kill()
    third = world.start("sampling")
    here.wait_for(lambda: _is(world, "degraded"), what="/readyz to see it")
    rabbit.start()

    for run_id in (first, second, third):
        loop.wait(run_id, seconds=180)
    assert [world.left_by(each) for each in (second, third)] == [expected] * 2
    assert [(loop.run_row(each).state, loop.run_row(each).attempts) for each in (first, second, third)] == [
        (RunState.succeeded, 1)
    ] * 3
    here.wait_for(lambda: _is(world, "ready"), what="/readyz to see it back")
    assert {name: here.child(name).pid for name in before} == before, "somebody had to be started anew"
    assert PASSWORD not in "".join(here.said)
    assert rabbit.has_said("timed out waiting for delivery acknowledgement"), "no run outlasted its patience"


def test_a_question_is_taken_or_refused_in_words_but_never_lost(
    rabbit: RabbitMQ, installation: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row stands for it. The connection that is kept dies with the broker and must not be believed in after that."""
    monkeypatch.setenv("TOUCHSTONE_BROKER_URL", rabbit.url)
    forget_settings()
    send_now(JobName.answer, "before")
    assert rabbit.waiting("playground") == 1
    rabbit.kill()
    with pytest.raises(UNREACHABLE):
        send_now(JobName.answer, "meanwhile")
    rabbit.start()
    send_now(JobName.answer, "after")
    assert rabbit.waiting("playground") == 1


def test_a_restart_that_nobody_saw_loses_no_question(
    rabbit: RabbitMQ, installation: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOUCHSTONE_BROKER_URL", rabbit.url)
    forget_settings()
    send_now(JobName.answer, "before")
    rabbit.kill()
    rabbit.start()
    send_now(JobName.answer, "after")
    assert rabbit.waiting("playground") == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda url: url.replace(PASSWORD, "guessed"), "Login was refused"),
        (lambda url: f"{url}-elsewhere", "vhost touchstone-elsewhere not found"),
    ],
)
def test_who_is_not_let_in_is_told_so_and_fails_no_commit(
    rabbit: RabbitMQ,
    wrong: Callable[[str], str],
    said: str,
    installation: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert doctor_queue.broker(installation.model_copy(update={"broker_url": rabbit.url})).state == State.ok
    monkeypatch.setenv("TOUCHSTONE_BROKER_URL", wrong(rabbit.url))
    forget_settings()
    found = doctor_queue.broker(get_settings())
    assert (found.state, said in found.found) == (State.wrong, True)
    assert "guessed" not in found.found
    with writing() as session:
        enqueue(session, JobName.run, uuid.uuid4())
    assert "waits for the sweep" in caplog.text
