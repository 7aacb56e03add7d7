"""The sweep: silent runs are handed on, lost nudges sent again."""

from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.core.clock import now
from app.projects.models import Project
from app.registry.models import ModelState
from app.runs import service, workers
from app.runs.models import RunState, Worker
from app.runs.sweep import sweep
from app.runs.workers import Device
from tests.app.runs.rows import make_run, make_running
from tests.factories import make_model, make_person, make_project


@pytest.fixture
def own_project(session: Session) -> Project:
    return make_project(session)


def _nudges(session: Session) -> list[tuple[str, str]]:
    return [(name.value, argument) for name, argument, _ in session.info.get("nudges", [])]


def test_a_silent_run_is_queued_and_sent_again(session: Session, own_project: Project) -> None:
    run = make_running(session, own_project, silent_for=31)
    assert sweep(session).abandoned == 1
    assert (run.state, run.claimed_by) == (RunState.queued, None)
    assert _nudges(session) == [("touchstone.run", str(run.id))]
    assert sweep(session).abandoned == 0


def test_what_was_written_before_a_clock_was_set_back_is_not_fresh(session: Session, own_project: Project) -> None:
    """Its worker is gone and its message lost, and both times are an hour ahead of the clock."""
    silent = make_running(session, own_project, silent_for=-3600)
    waiting = make_run(session, own_project, state=RunState.queued)
    waiting.queued_at = now() + timedelta(hours=1)
    workers.report(session, "of-yesterday", device=Device("cpu"), run_id=None)
    session.flush()
    session.get_one(Worker, "of-yesterday").heartbeat_at = now() + timedelta(hours=1)
    session.flush()
    assert [each.name for each in workers.live_workers(session)] == []
    workers.report(session, "alive", device=Device("cpu"), run_id=None)
    session.flush()
    swept = sweep(session)
    assert (swept.abandoned, swept.nudged, silent.state) == (1, 1, RunState.queued)
    assert ("touchstone.run", str(waiting.id)) in _nudges(session)


def test_a_run_that_beats_is_left_alone(session: Session, own_project: Project) -> None:
    run = make_running(session, own_project, silent_for=29)
    assert sweep(session).abandoned == 0
    assert run.state == RunState.running


def test_a_silent_run_that_was_to_stop_is_cancelled(session: Session, own_project: Project) -> None:
    run = make_running(session, own_project, silent_for=31)
    service.ask_to_stop(session, run, by=make_person(session, role=Role.admin))
    sweep(session)
    assert run.state == RunState.cancelled


def test_a_run_that_keeps_killing_its_workers_fails_in_words(session: Session, own_project: Project) -> None:
    run = make_running(session, own_project, silent_for=31)
    run.attempts = service.MAX_ATTEMPTS
    sweep(session)
    assert run.state == RunState.failed
    assert run.error is not None
    assert "died 5 times" in run.error
    assert "memory" in run.error


def test_a_checkpoint_forgives_earlier_deaths(session: Session, own_project: Project) -> None:
    run = make_running(session, own_project, silent_for=31)
    run.attempts = service.MAX_ATTEMPTS
    assert run.claimed_by is not None
    service.record_step(session, run.id, claim=run.claimed_by, step=3, total=9, metrics={}, checkpointed=True)
    sweep(session, at=now() + timedelta(seconds=60))
    assert run.state == RunState.queued


def test_a_lost_nudge_is_sent_again_where_a_worker_waits(session: Session, own_project: Project) -> None:
    run = make_run(session, own_project)
    later = now() + timedelta(seconds=5)
    assert sweep(session, at=later).nudged == 0
    workers.report(session, "worker-1", device=Device("cpu"), run_id=None)
    session.flush()
    assert sweep(session, at=later).nudged == 1
    assert _nudges(session) == [("touchstone.run", str(run.id))]


def test_a_busy_worker_gets_no_more_nudges(session: Session, own_project: Project) -> None:
    busy = make_running(session, own_project)
    make_run(session, own_project)
    workers.report(session, "worker-1", device=Device("cpu"), run_id=busy.id)
    session.flush()
    assert sweep(session, at=now() + timedelta(seconds=5)).nudged == 0


def test_a_fresh_run_is_not_sent_twice(session: Session, own_project: Project) -> None:
    make_run(session, own_project)
    workers.report(session, "worker-1", device=Device("cpu"), run_id=None)
    session.flush()
    assert sweep(session).nudged == 0


def test_a_model_left_half_added_is_sent_again(session: Session, own_project: Project) -> None:
    model = make_model(session, own_project)
    model.state = ModelState.adding
    model.created_at = now() - timedelta(minutes=11)
    workers.report(session, "worker-1", device=Device("cpu"), run_id=None)
    session.flush()
    assert sweep(session).nudged == 1
    assert _nudges(session) == [("touchstone.add_model", str(model.id))]


def test_workers_are_counted_while_they_beat(session: Session, own_project: Project) -> None:
    assert str(workers.workforce(session)) == "No worker running"
    busy = make_running(session, own_project)
    workers.report(session, "worker-1", device=Device("cpu"), run_id=busy.id)
    workers.report(session, "worker-2", device=Device("cpu"), run_id=None)
    session.flush()
    assert str(workers.workforce(session)) == "1 worker busy, 1 idle"
    workers.sign_off(session, "worker-1")
    assert str(workers.workforce(session)) == "1 worker idle"
