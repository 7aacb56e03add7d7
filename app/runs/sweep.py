"""Puts right what a crash or a lost message left: silent runs are handed on, lost nudges are sent again."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.clock import is_far, now
from app.core.queue import JobName, enqueue
from app.registry.models import Model, ModelState
from app.runs import line, service
from app.runs.models import Run, RunState
from app.runs.workers import Device, device_of, idle_workers, patience

# A nudge needs this long at most to reach an idle worker; what is queued for longer has lost its message.
NUDGE_TAKES = timedelta(seconds=3)
# `touchstone models add` may be loading a model in its own process; only after this long is it taken for dead.
ADDING_TAKES = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Swept:
    abandoned: int
    nudged: int


def sweep(session: Session, *, at: datetime | None = None) -> Swept:
    """One pass. Any number of processes may sweep at once: every row is changed under its lock, once."""
    at = at or now()
    return Swept(abandoned=_hand_on_silent_runs(session, at), nudged=_nudge_again(session, at))


def _hand_on_silent_runs(session: Session, at: datetime) -> int:
    silent = select(Run).where(Run.state == RunState.running, is_far(Run.heartbeat_at, at, patience()))
    runs = list(session.scalars(silent.with_for_update(skip_locked=True)))
    for run in runs:
        service.end_abandoned(session, run)
    return len(runs)


def _nudge_again(session: Session, at: datetime) -> int:
    """Send what waits again, to as many as are idle: a busy worker sweeps when it is done."""
    idle = len(idle_workers(session, at))
    if not idle:
        return 0
    adding = select(Model.id).where(Model.state == ModelState.adding, is_far(Model.created_at, at, ADDING_TAKES))
    models = list(session.scalars(adding.limit(idle)))
    for model_id in models:
        enqueue(session, JobName.add_model, model_id)
    return nudge_able(session, at=at, after=NUDGE_TAKES) + len(models)


def nudge_able(
    session: Session, *, at: datetime | None = None, after: timedelta = timedelta(0), but_for: Device | None = None
) -> int:
    """Send each idle worker that can take one of the queued runs a nudge of its own: one for whoever comes first could
    meet a worker that can't, again and again. What `but_for` can hold is left to it."""
    at = at or now()
    idle = idle_workers(session, at)
    waiting = [each for each in line.in_order(session, at=at) if abs(at - each.queued_at) >= after] if idle else []
    waiting = [each for each in waiting if but_for is None or not line.can_hold(but_for, each)]
    sent = 0
    for worker in idle:
        own = next((each for each in waiting if line.can_hold(device_of(worker), each)), None)
        if own is not None:
            waiting.remove(own)
            enqueue(session, JobName.run, own.id, to=worker.name)
            sent += 1
    return sent
