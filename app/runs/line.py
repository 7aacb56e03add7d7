"""The line of queued runs: by priority, then the project that had the workers least of late, then age.

A message only says that there is something to do. Whoever gets one takes the first run here that its device can hold.
"""

import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import Person
from app.core.clock import now
from app.core.errors import Conflict
from app.runs import service
from app.runs.models import Run, RunState
from app.runs.schemas import Priority, Where
from app.runs.workers import Device

SHARE_OVER = timedelta(hours=24)
_RANK = {priority: rank for rank, priority in enumerate(Priority)}


@dataclass(frozen=True, slots=True)
class Queued:
    """What decides about a queued run's place."""

    id: uuid.UUID
    project_id: uuid.UUID
    priority: Priority
    device: Where
    gpu_bytes: int
    cpu_bytes: int
    created_at: datetime
    queued_at: datetime


def in_order(session: Session, *, at: datetime | None = None) -> list[Queued]:
    """All queued runs, the first to go first. Age is the run's own: one that was given back is older than new ones."""
    query = select(Run.id, Run.project_id, Run.priority, Run.device, Run.gpu_bytes, Run.cpu_bytes, Run.created_at,
                   Run.queued_at).where(Run.state == RunState.queued)  # fmt: skip
    waiting = [Queued(*row) for row in session.execute(query)]
    if not waiting:
        return []
    had = worked(session, at=at)
    return sorted(waiting, key=lambda each: (_RANK[each.priority], had[each.project_id], each.created_at, each.id))


def worked(session: Session, *, at: datetime | None = None) -> dict[uuid.UUID, float]:
    """Seconds that workers gave each project of late, runs that work now included. The time of a run is taken to have
    passed without a break until its last worker left it."""
    at = at or now()
    since = at - SHARE_OVER
    query = select(Run.project_id, Run.worked_seconds, Run.claimed_at, Run.worked_until)
    had: dict[uuid.UUID, float] = defaultdict(float)
    for project_id, seconds, claimed_at, until in session.execute(
        query.where((Run.state == RunState.running) | (Run.worked_until > since))
    ):
        if claimed_at is not None:
            seconds, until = seconds + max(0.0, (at - claimed_at).total_seconds()), at
        of_late = (min(until or since, at) - since).total_seconds()
        had[project_id] += max(0.0, min(seconds, of_late))
    return had


def may_go(device: Device, where: Where) -> bool:
    return where == Where.any or (where == Where.gpu) == device.has_gpu


def can_hold(device: Device, run: Queued) -> bool:
    """Whether the run may go there, and its weights fit. What is not known of a device keeps nothing away."""
    return may_go(device, run.device) and (device.memory is None or bytes_on(device, run) <= device.memory)


def bytes_on(device: Device, run: Queued) -> int:
    return run.gpu_bytes if device.has_gpu else run.cpu_bytes


def claim_next(session: Session, *, worker: str, device: Device) -> Run | None:
    """Take the first queued run that the device can hold; the next one where another worker was faster."""
    for each in in_order(session):
        if can_hold(device, each) and _is_free(session, each.id):
            run = service.claim(session, each.id, worker=worker)
            if run is not None:
                return run
    return None


def _is_free(session: Session, run_id: uuid.UUID) -> bool:
    """PostgreSQL passes over what another claims or stops at this moment, and nobody waits for anybody."""
    query = select(Run.id).where(Run.id == run_id, Run.state == RunState.queued)
    return session.scalar(query.with_for_update(skip_locked=True)) is not None


def set_priority(session: Session, run: Run, priority: Priority, *, by: Person) -> None:
    """Move a run in the line; one that works now keeps it for the next time that it waits."""
    session.refresh(run, with_for_update=True)
    if run.state in service.FINAL:
        raise Conflict(f"“{run.name}” is {run.state} already.", mend="It waits for nothing.")
    if run.priority == priority:
        return
    was, run.priority = run.priority, priority
    service.log(session, run.id, f"{by.name} gave it {priority} priority; it had {was}.")
    audit.record(session, by, "run.priority", subject=run, before=was, after=priority)
    session.flush()
