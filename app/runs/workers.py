"""The workers' rows: who is alive, and what each works on."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.core.clock import is_far, now
from app.core.config import get_settings
from app.core.queue import Queue
from app.runs.models import Worker


@dataclass(frozen=True, slots=True)
class Workforce:
    busy: int
    idle: int
    sampling: int = 0  # those that work on no runs, but draw for their trainers

    def __str__(self) -> str:
        drawing = [(self.sampling, "sampling")]
        if not self.busy and not self.idle:
            return ", ".join(["No worker running", *(f"{count} {what}" for count, what in drawing if count)])
        parts = [f"{count} {what}" for count, what in ((self.busy, "busy"), (self.idle, "idle"), *drawing) if count]
        first, *rest = parts
        count, what = first.split()
        return ", ".join([f"{count} worker{'s' if count != '1' else ''} {what}", *rest])


def report(
    session: Session, name: str, *, device: str, run_id: uuid.UUID | None, queue: Queue = Queue.touchstone
) -> None:
    """The worker is alive, and works on `run_id` (none: it waits)."""
    session.merge(Worker(name=name, queue=queue, device=device, heartbeat_at=now(), run_id=run_id))


def sign_off(session: Session, name: str) -> None:
    session.execute(delete(Worker).where(Worker.name == name))


def patience() -> timedelta:
    """How long a worker or a run may give no sign before it is given up."""
    return timedelta(seconds=get_settings().stale_after_seconds)


def live_workers(session: Session, at: datetime | None = None) -> list[Worker]:
    is_silent = is_far(Worker.heartbeat_at, at or now(), patience())
    return list(session.scalars(select(Worker).where(~is_silent).order_by(Worker.name)))


def idle_workers(session: Session, at: datetime | None = None) -> list[Worker]:
    """Those that a queued run can be given to."""
    return [
        worker for worker in live_workers(session, at) if worker.run_id is None and worker.queue == Queue.touchstone
    ]


def has_sampling_worker(session: Session, at: datetime | None = None) -> bool:
    return any(worker.queue == Queue.sampling for worker in live_workers(session, at))


def count_import_workers(session: Session) -> int:
    return sum(worker.queue == Queue.imports for worker in live_workers(session))


def workforce(session: Session) -> Workforce:
    alive = live_workers(session)
    own = [worker for worker in alive if worker.queue == Queue.touchstone]
    busy = sum(worker.run_id is not None for worker in own)
    sampling = sum(worker.queue == Queue.sampling for worker in alive)
    return Workforce(busy=busy, idle=len(own) - busy, sampling=sampling)


def forget_dead(session: Session, *, before: datetime) -> None:
    session.execute(delete(Worker).where(Worker.heartbeat_at < before))
