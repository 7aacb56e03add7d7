"""Shares of a run's episodes: asked for, taken once, handed in, handed on from a silent worker, gone with the run."""

import uuid
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.core.clock import now
from app.core.queue import Queue
from app.runs import service, shares, workers
from app.runs.models import Run, SamplingShare
from app.runs.service import ClaimLost
from app.runs.sweep import sweep
from app.runs.workers import Device
from tests.app.runs.rows import make_run, make_running
from tests.factories import make_person, make_project

SILENT = timedelta(seconds=31)


@pytest.fixture
def running(session: Session) -> Run:
    return make_running(session, make_project(session))


def _ask(session: Session, run: Run, *, number: int = 0, version: str = "00000000-a") -> SamplingShare:
    shares.ask(session, run.id, claim=_claim(run), iteration=0, number=number, version=version)
    return session.scalars(select(SamplingShare).where(SamplingShare.number == number)).one()


def _claim(run: Run) -> str:
    assert run.claimed_by is not None
    return run.claimed_by


def _nudges(session: Session) -> list[tuple[str, str]]:
    return [(name.value, argument) for name, argument, _ in session.info.get("nudges", [])]


def _standing(session: Session, run: Run) -> shares.Standing:
    return shares.read_standing(session, run.id, claim=_claim(run))


def test_a_share_is_sent_and_taken_once(session: Session, running: Run) -> None:
    share = _ask(session, running)
    assert _nudges(session) == [("touchstone.draw_share", str(share.id))]
    assert not _standing(session, running).being_drawn
    taken = shares.take(session, share.id, worker="sampler-1")
    assert taken is not None
    assert (taken.taken_by or "").startswith("sampler-1#")
    assert shares.take(session, share.id, worker="sampler-2") is None
    assert _standing(session, running).being_drawn
    assert shares.hand_in(session, taken)
    assert shares.take(session, share.id, worker="sampler-2") is None
    seen = _standing(session, running).share(0, 0)
    assert seen is not None
    assert seen.is_drawn


def test_what_is_left_of_a_dead_trainer_is_not_drawn(session: Session, running: Run) -> None:
    left = _ask(session, running)
    running.claimed_by = "another-worker#1"
    session.flush()
    assert shares.take(session, left.id, worker="sampler-1") is None
    with pytest.raises(ClaimLost):
        shares.read_standing(session, running.id, claim="worker-1#old")


@pytest.mark.parametrize("end", ["finish", "fail", "stop", "give_back", "sweep"])
def test_shares_end_with_their_run(session: Session, running: Run, end: str) -> None:
    share = _ask(session, running)
    taken = shares.take(session, share.id, worker="sampler-1")
    assert taken is not None
    claim = _claim(running)
    if end == "sweep":
        running.heartbeat_at = now() - SILENT
        sweep(session)
    else:
        more = {"finish": {"result": {}}, "fail": {"reason": "No."}, "stop": {"step": 1}, "give_back": {"step": 1}}[end]
        getattr(service, end)(session, running.id, claim=claim, **more)
    session.expire_all()
    assert session.scalars(select(SamplingShare)).all() == []
    assert not shares.hand_in(session, taken)
    assert shares.take(session, share.id, worker="sampler-2") is None


def test_a_share_whose_worker_is_silent_is_handed_on(session: Session, running: Run) -> None:
    share = _ask(session, running)
    first = shares.take(session, share.id, worker="sampler-1")
    assert first is not None
    session.expunge(first)
    later = now() + SILENT
    assert _standing(session, running).lost == []
    assert [each.id for each in shares.read_standing(session, running.id, claim=_claim(running), at=later).lost] == [
        share.id
    ]
    session.info.pop("nudges")
    assert shares.hand_on(session, first, at=later)
    assert not shares.hand_on(session, first, at=later), "it is handed on once"
    assert _nudges(session) == [("touchstone.draw_share", str(share.id))]
    assert not shares.beat(session, first)
    assert not shares.hand_in(session, first), "the silent worker's answer counts no more"
    second = shares.take(session, share.id, worker="sampler-2")
    assert second is not None
    assert shares.hand_in(session, second)


def test_a_share_that_beats_is_left_with_its_worker(session: Session, running: Run) -> None:
    share = _ask(session, running)
    taken = shares.take(session, share.id, worker="sampler-1")
    assert taken is not None
    taken.heartbeat_at = now() - SILENT
    session.flush()
    assert shares.beat(session, taken)
    session.expire_all()
    assert _standing(session, running).lost == []
    assert not shares.hand_on(session, taken)


def test_a_share_that_nobody_takes_is_sent_again_but_not_told_as_lost(session: Session, running: Run) -> None:
    share = _ask(session, running)
    session.info.pop("nudges")
    assert not shares.hand_on(session, share)
    assert _nudges(session) == []
    assert not shares.hand_on(session, share, at=now() + SILENT)
    assert _nudges(session) == [("touchstone.draw_share", str(share.id))]


def test_only_what_nobody_has_can_be_withdrawn(session: Session, running: Run) -> None:
    idle, busy, failed = (_ask(session, running, number=number) for number in range(3))
    for share in (busy, failed):
        assert shares.take(session, share.id, worker="sampler-1") is not None
    session.refresh(failed)
    assert shares.fail(session, failed, reason="The memory ran out.")
    session.expire_all()
    assert _standing(session, running).being_drawn
    assert [shares.withdraw(session, each) for each in (idle.id, busy.id, failed.id)] == [True, False, True]
    shares.forget(session, busy.id)
    assert _standing(session, running).shares == []


def test_a_share_that_failed_is_no_sign_of_life(session: Session, running: Run) -> None:
    share = _ask(session, running)
    taken = shares.take(session, share.id, worker="sampler-1")
    assert taken is not None
    shares.fail(session, taken, reason="The memory ran out.")
    session.expire_all()
    assert not _standing(session, running).being_drawn
    assert _standing(session, running).lost == []


def test_a_share_asked_for_again_is_another_one(session: Session, running: Run) -> None:
    first = _ask(session, running)
    taken = shares.take(session, first.id, worker="sampler-1")
    assert taken is not None
    session.expunge(taken)
    second = _ask(session, running, version="00000000-b")
    assert (second.version, second.taken_by, second.is_drawn) == ("00000000-b", None, False)
    assert second.id != taken.id
    assert not shares.hand_in(session, taken)


def test_the_trainer_hears_of_a_stop_and_of_live_sampling_workers(session: Session, running: Run) -> None:
    workers.report(session, "worker-1", device=Device("cpu"), run_id=running.id)
    session.flush()
    before = _standing(session, running)
    assert (before.is_stop_asked, before.has_worker) == (False, False)
    workers.report(session, "sampler-1", device=Device("cpu"), run_id=None, queue=Queue.sampling)
    service.ask_to_stop(session, running, by=make_person(session, role=Role.admin))
    session.flush()
    after = _standing(session, running)
    assert (after.is_stop_asked, after.has_worker) == (True, True)


def test_sampling_workers_are_not_counted_on_for_runs(session: Session) -> None:
    make_run(session, make_project(session))
    workers.report(session, "sampler-1", device=Device("cpu"), run_id=None, queue=Queue.sampling)
    session.flush()
    assert workers.idle_workers(session) == []
    assert str(workers.workforce(session)) == "No worker running, 1 sampling"
    assert sweep(session, at=now() + timedelta(seconds=5)).nudged == 0
    workers.report(session, "worker-1", device=Device("cpu"), run_id=None)
    session.flush()
    assert str(workers.workforce(session)) == "1 worker idle, 1 sampling"
    assert sweep(session, at=now() + timedelta(seconds=5)).nudged == 1


def test_an_unknown_share_is_nobodys(session: Session) -> None:
    assert shares.take(session, uuid.uuid4(), worker="sampler-1") is None
