"""Shares of a run's episodes on their way between its trainer and the sampling workers, one row each.

A trainer asks for a share, a worker takes it, beats while it draws and hands in; the row is gone when the trainer has
the answer, or with the run's end. Like a run, a share that its worker fell silent with is handed to the next one.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.core.clock import now
from app.core.config import get_settings
from app.core.queue import JobName, enqueue
from app.runs.models import Run, RunState, SamplingShare
from app.runs.service import ClaimLost
from app.runs.workers import has_sampling_worker

# What a trainer does


@dataclass(frozen=True, slots=True)
class Standing:
    """A run's shares as its trainer finds them."""

    is_stop_asked: bool
    shares: list[SamplingShare]
    has_worker: bool  # whether any sampling worker is alive
    at: datetime

    def share(self, iteration: int, number: int) -> SamplingShare | None:
        return next((each for each in self.shares if (each.iteration, each.number) == (iteration, number)), None)

    @property
    def being_drawn(self) -> bool:
        """Whether somebody is at work on any of them."""
        return any(each.taken_by and not (each.is_drawn or each.error or is_silent(each, self.at))
                   for each in self.shares)  # fmt: skip

    @property
    def lost(self) -> list[SamplingShare]:
        """Those whose worker fell silent, and those whose message may be lost."""
        return [each for each in self.shares if is_silent(each, self.at) or is_unheard(each, self.at)]


def read_standing(session: Session, run_id: uuid.UUID, *, claim: str, at: datetime | None = None) -> Standing:
    run = session.get_one(Run, run_id, populate_existing=True)
    if run.claimed_by != claim or run.state != RunState.running:
        raise ClaimLost("Another worker has taken this run over.")
    of_run = select(SamplingShare).where(SamplingShare.run_id == run_id)
    shares = session.scalars(of_run.execution_options(populate_existing=True))
    return Standing(run.is_cancel_asked, list(shares), has_sampling_worker(session, at), at or now())


def is_silent(share: SamplingShare, at: datetime) -> bool:
    """Whether its worker is taken for dead."""
    if share.taken_by is None or share.is_drawn or share.error or share.heartbeat_at is None:
        return False
    return abs(at - share.heartbeat_at) > _long()


def is_unheard(share: SamplingShare, at: datetime) -> bool:
    """Whether nobody took it for so long that it is better told again."""
    return share.taken_by is None and abs(at - share.nudged_at) > _long()


def _long() -> timedelta:
    return timedelta(seconds=get_settings().stale_after_seconds)


def ask(session: Session, run_id: uuid.UUID, *, claim: str, iteration: int, number: int, version: str) -> None:
    """Have a share drawn by that version of the policy; what was asked or drawn of it before counts no more."""
    session.execute(
        delete(SamplingShare).where(
            SamplingShare.run_id == run_id, SamplingShare.iteration == iteration, SamplingShare.number == number
        )
    )
    share = SamplingShare(run_id=run_id, claim=claim, iteration=iteration, number=number, version=version)
    session.add(share)
    session.flush()
    enqueue(session, JobName.draw_share, share.id)


def hand_on(session: Session, lost: SamplingShare, *, at: datetime | None = None) -> bool:
    """Put a lost share on the queue again, unless its worker gave a sign meanwhile. Whether one had fallen silent."""
    query = select(SamplingShare).where(SamplingShare.id == lost.id).with_for_update()
    share, at = session.scalar(query.execution_options(populate_existing=True)), at or now()
    if share is None or not (is_silent(share, at) or is_unheard(share, at)):
        return False
    was_taken = share.taken_by is not None
    share.taken_by, share.heartbeat_at, share.nudged_at = None, None, at
    session.flush()
    enqueue(session, JobName.draw_share, share.id)
    return was_taken


def withdraw(session: Session, share_id: uuid.UUID) -> bool:
    """Take back a share that nobody has, so that nobody else draws it. Whether that is so."""
    is_idle = SamplingShare.taken_by.is_(None) | SamplingShare.error.is_not(None)
    gone = session.execute(delete(SamplingShare).where(SamplingShare.id == share_id, is_idle))
    return bool(gone.rowcount)  # type: ignore[attr-defined]


def forget(session: Session, share_id: uuid.UUID) -> None:
    """The trainer has its answer."""
    session.execute(delete(SamplingShare).where(SamplingShare.id == share_id))


# What a sampling worker does


def take(session: Session, share_id: uuid.UUID, *, worker: str) -> SamplingShare | None:
    """Take a share in one conditional update; none when another has it, or when its trainer is gone."""
    waits = select(Run.id).where(
        Run.id == SamplingShare.run_id, Run.state == RunState.running, Run.claimed_by == SamplingShare.claim
    )
    taken = session.execute(
        update(SamplingShare)
        .where(SamplingShare.id == share_id, SamplingShare.taken_by.is_(None), waits.exists())
        .values(taken_by=f"{worker}#{uuid.uuid4().hex[:8]}", heartbeat_at=now())
        .execution_options(synchronize_session=False)
    )
    if not taken.rowcount:  # type: ignore[attr-defined]
        return None
    return session.get_one(SamplingShare, share_id, populate_existing=True)


def _change(session: Session, share: SamplingShare, **values: object) -> bool:
    """False: the share is somebody else's by now, or nobody's, and is left alone."""
    held = update(SamplingShare).where(SamplingShare.id == share.id, SamplingShare.taken_by == share.taken_by)
    changed = session.execute(held.values(**values).execution_options(synchronize_session=False))
    return bool(changed.rowcount)  # type: ignore[attr-defined]


def beat(session: Session, share: SamplingShare) -> bool:
    """Say that it is being drawn."""
    return _change(session, share, heartbeat_at=now())


def hand_in(session: Session, share: SamplingShare) -> bool:
    """Its answer is stored."""
    return _change(session, share, is_drawn=True)


def fail(session: Session, share: SamplingShare, *, reason: str) -> bool:
    """It could not be drawn; `reason` is for the admin."""
    return _change(session, share, error=reason)
