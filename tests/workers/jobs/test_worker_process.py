"""A real worker process behind a real Redis: killed, shut down, cut off, and none of it shows in the result."""

import signal
import subprocess
import sys
import uuid

import pytest
from sqlalchemy import select

from app.core.config import Settings
from app.core.db import reading, writing
from app.core.storage import get_artefacts
from app.runs import service, workers
from app.runs.configs import RunKind
from app.runs.models import Run, RunState, Worker
from app.runs.sweep import sweep
from tests.workers.jobs.conftest import World
from tests.workers.jobs.processes import eventually, running_redis, running_worker
from workers.jobs.pulse import Pulse
from workers.jobs.run import work_on

pytestmark = pytest.mark.train

LONG = {"epochs": 16}  # 48 steps, a checkpoint at every second


@pytest.fixture(autouse=True)
def _stale_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_STALE_AFTER_SECONDS", "2")


def _run(run_id: uuid.UUID) -> Run:
    with reading() as session:
        return session.get_one(Run, run_id)


def _ended(run_id: uuid.UUID) -> bool:
    return _run(run_id).state in service.FINAL


def _sweep() -> int:
    with writing() as session:
        return sweep(session).abandoned


def _weights(run_id: uuid.UUID) -> bytes:
    return (get_artefacts().folder(f"models/{run_id}") / "model.safetensors").read_bytes()


def _never_killed(world: World, **changes: object) -> bytes:
    run = world.ask_for(RunKind.sft, **changes)
    work_on(run.id, Pulse())
    return _weights(run.id)


@pytest.mark.prove  # tests/system kills whole installations
def test_a_worker_killed_in_a_run_changes_nothing_of_its_result(world: World, installation: Settings) -> None:
    expected = _never_killed(world, **LONG)
    with running_redis(installation):
        run_id = world.ask_for(RunKind.sft, **LONG).id
        with running_worker(installation) as worker:
            eventually(lambda: _run(run_id).step >= 5, what="step 5")
            worker.send_signal(signal.SIGKILL)
        assert not _ended(run_id)
        eventually(lambda: _sweep() == 1, what="the silent run is handed on")
        with running_worker(installation):
            eventually(lambda: _ended(run_id), what="the run ends")
    run = _run(run_id)
    assert (run.state, run.error, run.step) == (RunState.succeeded, None, 48)
    assert _weights(run_id) == expected


@pytest.mark.prove  # test_run asks the same of the job, tests/system of an installation that is told to stop
def test_a_worker_told_to_end_gives_its_run_back_and_leaves_the_list(world: World, installation: Settings) -> None:
    expected = _never_killed(world, **LONG)
    with running_redis(installation):
        run_id = world.ask_for(RunKind.sft, **LONG).id
        with running_worker(installation) as worker:
            eventually(lambda: _run(run_id).step >= 3, what="step 3")
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(timeout=60) == 0
        given_back = _run(run_id)
        assert given_back.state == RunState.queued
        assert given_back.checkpoint_step == given_back.step
        with reading() as session:
            assert session.scalars(select(Worker).where(Worker.name.endswith(f"-{worker.pid}"))).all() == []
        with running_worker(installation):
            eventually(lambda: _ended(run_id), what="the run ends")
    assert _weights(run_id) == expected


@pytest.mark.prove  # tests/system kills Redis under a run, and loses a message
def test_a_worker_outlives_its_redis(world: World, installation: Settings) -> None:
    with running_worker(installation) as worker:
        with running_redis(installation) as server:
            first = world.ask_for(RunKind.sft, **LONG).id
            eventually(lambda: _run(first).step >= 3, what="step 3")
            server.kill()
            server.wait()
            eventually(lambda: _ended(first), what="the run ends without Redis")
            lost = world.ask_for(RunKind.sft).id  # its message is lost: nobody takes it
        with running_redis(installation):
            eventually(_idle, what="the worker waits")
            eventually(lambda: _nudge_again() or _ended(lost), what="the lost run is sent again")
            eventually(lambda: _ended(lost), what="the lost run ends")
        assert worker.poll() is None
    assert _run(first).state == _run(lost).state == RunState.succeeded


def _idle() -> bool:
    with reading() as session:
        return len(workers.idle_workers(session)) == 1


def _nudge_again() -> bool:
    with writing() as session:
        return sweep(session).nudged == 1


@pytest.mark.prove  # test_run asks the same of the job
def test_an_admins_stop_reaches_the_worker(world: World, installation: Settings) -> None:
    with running_redis(installation), running_worker(installation):
        run_id = world.ask_for(RunKind.sft, epochs=500).id
        eventually(lambda: _run(run_id).step >= 3, what="step 3")
        with writing() as session:
            service.ask_to_stop(session, session.get_one(Run, run_id), by=world.admin)
        eventually(lambda: _ended(run_id), what="the run stops")
    stopped = _run(run_id)
    assert (stopped.state, stopped.step) == (RunState.cancelled, stopped.checkpoint_step)


def test_the_scheduler_loads_no_torch() -> None:
    check = "import sys, workers.celery_app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
