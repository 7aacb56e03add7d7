"""The line of queued runs: who goes first, who can take what, and what those that wait are told."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from app.accounts.models import AuditEvent, Role
from app.core.clock import now
from app.core.db import writing
from app.core.errors import Conflict
from app.projects.models import Project
from app.runs import line, service, sweep, waiting, workers
from app.runs.models import Run, RunState
from app.runs.schemas import Priority, Where
from app.runs.workers import Device
from tests.app.runs.rows import make_run, make_running
from tests.factories import make_person, make_project

GIB = 2**30
SMALL, BIG = Device("cpu, 2 threads", memory=8 * GIB), Device("H200", has_gpu=True, memory=139 * GIB)


@pytest.fixture
def own_project(session: Session) -> Project:
    return make_project(session)


def _queue(session: Session, project: Project, **facts: object) -> Run:
    run = make_run(session, project)
    for name, value in facts.items():
        setattr(run, name, value)
    session.flush()
    return run


def _work(session: Session, project: Project, *, hours: float, ended: float = 0) -> None:
    """A run that had a worker for so long and left it so many hours ago."""
    run = make_running(session, project)
    assert run.claimed_by is not None
    run.claimed_at = now() - timedelta(hours=hours)
    service.finish(session, run.id, claim=run.claimed_by, result={})
    run.worked_until = now() - timedelta(hours=ended)
    session.flush()


def _order(session: Session) -> list[object]:
    return [each.id for each in line.in_order(session)]


def _next(session: Session, device: Device = SMALL) -> Run | None:
    return line.claim_next(session, worker="worker-1", device=device)


def test_priority_goes_before_share_and_share_before_age(session: Session, own_project: Project) -> None:
    spared, urgent = make_project(session), make_project(session)
    _work(session, own_project, hours=2)
    _work(session, urgent, hours=20)
    old = _queue(session, own_project)
    young = _queue(session, spared)
    low = _queue(session, spared, priority=Priority.low, created_at=now() - timedelta(days=2))
    high = _queue(session, urgent, priority=Priority.high)
    younger = _queue(session, spared)
    assert _order(session) == [high.id, young.id, younger.id, old.id, low.id]


def test_two_projects_share_a_worker_whatever_one_of_them_asked_for_first(session: Session) -> None:
    one, other = make_project(session), make_project(session)
    for project in (one, one, one, other, other):
        _queue(session, project)
    got: list[object] = []
    while run := _next(session):
        run.claimed_at = now() - timedelta(hours=1 if run.project_id == one.id else 1.5)
        assert run.claimed_by is not None
        service.finish(session, run.id, claim=run.claimed_by, result={})
        got.append(run.project_id)
    assert got == [one.id, other.id, one.id, other.id, one.id]


def test_only_the_last_day_counts_and_of_a_run_that_lasts_only_its_part(session: Session) -> None:
    long_ago, longest, at_work, never = (make_project(session) for _ in range(4))
    _work(session, long_ago, hours=30, ended=25)
    _work(session, longest, hours=30, ended=23)
    make_running(session, at_work).claimed_at = now() - timedelta(hours=2)
    session.flush()
    had = {project_id: round(seconds / 3600, 2) for project_id, seconds in line.worked(session).items()}
    assert had == {longest.id: 1, at_work.id: 2}
    assert never.id not in had


def test_what_a_run_took_stays_counted_when_it_is_handed_on(session: Session, own_project: Project) -> None:
    """Given back, and then left by a worker that was silent for 20 of its 30 minutes."""
    run = make_running(session, own_project)
    run.claimed_at = now() - timedelta(minutes=10)
    assert run.claimed_by is not None
    service.give_back(session, run.id, claim=run.claimed_by, step=None)
    assert (run.claimed_at, round(run.worked_seconds)) == (None, 600)
    assert _next(session) is run
    run.claimed_at, run.heartbeat_at = now() - timedelta(minutes=30), now() - timedelta(minutes=20)
    session.flush()
    sweep.sweep(session)
    assert (run.state, round(run.worked_seconds)) == (RunState.queued, 1200)
    assert round(line.worked(session)[own_project.id]) == 1200


def test_a_run_that_was_handed_on_keeps_its_age(session: Session, own_project: Project) -> None:
    handed_on = make_running(session, own_project, silent_for=31)
    _queue(session, own_project)
    sweep.sweep(session)
    handed_on.worked_seconds = 0.0
    assert _next(session) is handed_on


@pytest.mark.parametrize(
    ("facts", "takes"),
    [
        ({"device": Where.gpu}, BIG),
        ({"device": Where.cpu}, SMALL),
        ({"gpu_bytes": 12 * GIB, "cpu_bytes": 12 * GIB}, BIG),
        ({"gpu_bytes": 200 * GIB, "cpu_bytes": 2 * GIB}, SMALL),
    ],
)
def test_a_run_goes_only_where_it_may_and_fits(
    session: Session, own_project: Project, facts: dict[str, object], takes: Device
) -> None:
    first = _queue(session, own_project, **facts)
    second = _queue(session, own_project)
    other = SMALL if takes is BIG else BIG
    assert _next(session, other) is second
    assert _next(session, other) is None
    assert _next(session, takes) is first


def test_what_is_not_known_of_a_device_keeps_nothing_away(session: Session, own_project: Project) -> None:
    run = _queue(session, own_project, cpu_bytes=10**15)
    assert _next(session, Device("cpu")) is run


def test_workers_that_race_for_the_line_take_each_run_once(engine: Engine) -> None:
    with writing(engine) as session:
        project = make_project(session)
        wanted = {make_run(session, project).id for _ in range(4)}
    barrier, got = threading.Barrier(6), []

    def race(number: int) -> None:
        barrier.wait()
        with writing(engine) as session:
            run = line.claim_next(session, worker=f"worker-{number}", device=SMALL)
            got.append(run.id if run else None)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, got)) == sorted([*map(str, wanted), "None", "None"])


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # writers of SQLite take turns
def test_a_run_that_another_holds_at_this_moment_is_passed_over(engine: Engine) -> None:
    with writing(engine) as session:
        project = make_project(session)
        first, second = (make_run(session, project).id for _ in range(2))
    with writing(engine) as held, writing(engine) as session:
        assert service.claim(held, first, worker="worker-1") is not None
        claimed = line.claim_next(session, worker="worker-2", device=SMALL)
        assert claimed is not None
        assert claimed.id == second


def _report(session: Session, name: str, device: Device, run: Run | None = None) -> None:
    workers.report(session, name, device=device, run_id=run.id if run else None)
    session.flush()


def test_a_worker_that_can_take_nothing_sends_for_those_that_can(session: Session, own_project: Project) -> None:
    """The message met the wrong worker: the right one gets one of its own, and none that is busy or as small."""
    run = _queue(session, own_project, device=Where.gpu)
    _report(session, "small", SMALL)
    _report(session, "as-small", SMALL)
    _report(session, "big", BIG)
    _report(session, "big-at-work", BIG, make_running(session, make_project(session)))
    assert _next(session) is None
    assert sweep.nudge_able(session, but_for=SMALL) == 1
    assert session.info["nudges"] == [("touchstone.run", str(run.id), "big")]
    assert sweep.nudge_able(session, but_for=BIG) == 0, "what it can hold itself is left to it: no messages to and fro"


def test_the_sweep_nudges_only_whom_it_helps(session: Session, own_project: Project) -> None:
    run = _queue(session, own_project, device=Where.gpu)
    _report(session, "small", SMALL)
    assert sweep.sweep(session, at=now() + timedelta(seconds=5)).nudged == 0
    _report(session, "big", BIG)
    assert sweep.sweep(session, at=now() + timedelta(seconds=5)).nudged == 1
    assert session.info["nudges"] == [("touchstone.run", str(run.id), "big")]


def test_a_run_that_waits_is_told_why(session: Session, own_project: Project) -> None:
    run = _queue(session, own_project, gpu_bytes=12 * GIB, cpu_bytes=12 * GIB)

    def why() -> str:
        wait = waiting.wait_of(session, run)
        assert wait is not None
        return wait.why

    assert why() == "No worker is running."
    _report(session, "small", SMALL)
    assert why() == (
        "It needs 12.0 GiB of memory at least; the largest live worker has 8.0 GiB. A lora_rank above 0 needs far less."
    )
    run.device = Where.gpu
    session.flush()
    assert why() == "No live worker has a GPU."
    _report(session, "big", BIG)
    assert why() == "A worker takes it in a moment."
    _report(session, "big", BIG, make_running(session, make_project(session)))
    assert why() == "The worker that can hold it is busy."
    run.device = Where.cpu
    session.flush()
    assert "the largest live worker without a GPU has 8.0 GiB" in why()


def test_only_runs_that_its_workers_could_take_are_ahead(session: Session, own_project: Project) -> None:
    _queue(session, own_project, device=Where.gpu)
    first, second = _queue(session, own_project), _queue(session, own_project)
    _report(session, "small", SMALL)
    found = waiting.waits_of(session, [first, second])
    assert [found[each.id].ahead for each in (first, second)] == [0, 1]


def test_a_change_of_priority_is_kept_with_who_made_it(session: Session, own_project: Project) -> None:
    admin = make_person(session, role=Role.admin)
    _queue(session, own_project)
    run = _queue(session, own_project)
    line.set_priority(session, run, Priority.high, by=admin)
    line.set_priority(session, run, Priority.high, by=admin)
    assert _order(session)[0] == run.id
    events = session.scalars(select(AuditEvent).where(AuditEvent.action == "run.priority")).all()
    assert [(each.person_id, each.details) for each in events] == [(admin.id, {"before": "normal", "after": "high"})]
    service.ask_to_stop(session, run, by=admin)
    with pytest.raises(Conflict, match="cancelled already"):
        line.set_priority(session, run, Priority.low, by=admin)
