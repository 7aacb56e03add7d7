"""Runs in two processes: torchrun starts them, the job speaks with them, and a killed one changes nothing."""

import signal
import threading
import uuid

import psutil
import pytest
import torch
from safetensors.torch import load_file
from sqlalchemy import select

from app.core.config import Settings
from app.core.db import reading, writing
from app.core.storage import get_artefacts
from app.runs import service
from app.runs.configs import RunKind
from app.runs.models import Run, RunLogLine, RunMetric, RunState
from app.runs.sweep import sweep
from tests.workers.jobs.conftest import World
from tests.workers.jobs.processes import eventually, running_redis, running_worker
from workers.jobs.pulse import Pulse
from workers.jobs.run import work_on

pytestmark = pytest.mark.train

TWO = {"processes": 2, "adam_eps": 1e-3}
LONG = TWO | {"epochs": 12}  # 36 steps, a checkpoint at every second


def _run(run_id: uuid.UUID) -> Run:
    with reading() as session:
        return session.get_one(Run, run_id)


def _weights(run_id: uuid.UUID) -> dict[str, torch.Tensor]:
    return load_file(get_artefacts().folder(f"models/{run_id}") / "model.safetensors")


def _losses(run_id: uuid.UUID) -> list[float]:
    with reading() as session:
        rows = session.scalars(select(RunMetric).where(RunMetric.run_id == run_id).order_by(RunMetric.step))
        return [row.values["loss"] for row in rows]


def _processes(of: int) -> list[psutil.Process]:
    """The training processes that this one started, in the order of their ranks."""
    found = []
    for process in psutil.Process(of).children(recursive=True):
        try:
            if "workers.training.launched" in process.cmdline() and "torch.distributed.run" not in process.cmdline():
                found.append((process.environ()["RANK"], process))
        except psutil.Error:  # it ended in this very moment
            continue
    return [process for _, process in sorted(found, key=lambda pair: pair[0])]


def _kill_at(run_id: uuid.UUID, step: int, rank: int) -> threading.Thread:
    def kill() -> None:
        eventually(lambda: _run(run_id).step >= step, what=f"step {step}")
        _processes(psutil.Process().pid)[rank].send_signal(signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_a_run_in_two_processes_makes_what_one_makes(world: World) -> None:
    runs = [world.ask_for(RunKind.sft, dropout=0.0, **TWO | {"processes": n}).id for n in (1, 2)]
    for run_id in runs:
        work_on(run_id, Pulse())
        assert (_run(run_id).state, _run(run_id).error) == (RunState.succeeded, None)
    alone, by_two = runs
    assert _losses(by_two) == pytest.approx(_losses(alone), abs=1e-5)
    ours, theirs = _weights(by_two), _weights(alone)
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in theirs) < 1e-5


@pytest.mark.prove  # a minute and more on two cores
def test_a_killed_process_is_started_again_and_changes_nothing(world: World) -> None:
    whole = world.ask_for(RunKind.sft, **LONG).id
    work_on(whole, Pulse())
    killed = world.ask_for(RunKind.sft, **LONG).id
    killers = [_kill_at(killed, step, rank) for step, rank in ((5, 0), (20, 1))]
    work_on(killed, Pulse())
    for killer in killers:
        killer.join()
    assert (_run(killed).state, _run(killed).error) == (RunState.succeeded, None)
    with reading() as session:
        said = list(session.scalars(select(RunLogLine.text).where(RunLogLine.run_id == killed)))
    assert sum("processes died" in text for text in said) == 2
    assert _losses(killed) == _losses(whole)
    assert all(torch.equal(tensor, _weights(killed)[name]) for name, tensor in _weights(whole).items())


@pytest.mark.prove  # a minute and more on two cores
def test_processes_end_with_their_worker_and_the_next_one_goes_on(
    world: World, installation: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOUCHSTONE_STALE_AFTER_SECONDS", "2")
    with running_redis(installation):
        run_id = world.ask_for(RunKind.sft, **LONG).id
        with running_worker(installation) as worker:
            eventually(lambda: _run(run_id).step >= 5, what="step 5")
            orphans = _processes(worker.pid)
            worker.send_signal(signal.SIGKILL)
        assert len(orphans) == 2
        eventually(lambda: not any(map(_lives, orphans)), what="the processes end with their worker")
        eventually(_hand_on, what="the silent run is handed on")
        with running_worker(installation):
            eventually(lambda: _run(run_id).state in service.FINAL, what="the run ends")
    assert (_run(run_id).state, _run(run_id).error, _run(run_id).step) == (RunState.succeeded, None, 36)


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _hand_on() -> bool:
    with writing() as session:
        return sweep(session).abandoned == 1


@pytest.mark.prove  # three starts of two processes
def test_a_stop_reaches_all_processes_and_the_run_goes_on_from_there(world: World) -> None:
    run_id = world.ask_for(RunKind.sft, **LONG).id
    pulse = Pulse()

    def stop() -> None:
        eventually(lambda: _run(run_id).step >= 3, what="step 3")
        with writing() as session:
            service.ask_to_stop(session, session.get_one(Run, run_id), by=world.admin)

    asker = threading.Thread(target=stop)
    asker.start()
    work_on(run_id, pulse)
    asker.join()
    stopped = _run(run_id)
    assert stopped.state == RunState.cancelled
    assert 3 <= stopped.step == stopped.checkpoint_step < 36


def test_more_processes_than_the_worker_has_room_for_are_refused_in_words(world: World) -> None:
    run_id = world.ask_for(RunKind.sft, processes=512, batch_size=512).id
    work_on(run_id, Pulse())
    run = _run(run_id)
    assert run.state == RunState.failed
    assert "This run asks for 512 processes, and this worker has" in (run.error or "")


def test_what_cannot_train_is_said_in_the_trainers_words(world: World) -> None:
    run_id = world.ask_for(RunKind.sft, max_prompt_tokens=2, **TWO).id
    work_on(run_id, Pulse())
    run = _run(run_id)
    assert run.state == RunState.failed
    assert "demonstrations are longer than max_prompt_tokens 2" in (run.error or "")
