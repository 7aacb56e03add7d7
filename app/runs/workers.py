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
from app.runs.needs import gib


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


@dataclass(frozen=True, slots=True)
class Device:
    """What a worker works with: the GPU where it has one, else the machine."""

    name: str
    has_gpu: bool = False
    memory: int | None = None  # bytes; none: not known

    def __str__(self) -> str:
        return self.name if self.memory is None else f"{self.name}, {gib(self.memory)}"


def report(
    session: Session, name: str, *, device: Device, run_id: uuid.UUID | None, queue: Queue = Queue.touchstone
) -> None:
    """The worker is alive, and works on `run_id` (none: it waits)."""
    session.merge(Worker(name=name, queue=queue, device=device.name, has_gpu=device.has_gpu, memory=device.memory,
                         heartbeat_at=now(), run_id=run_id))  # fmt: skip


def device_of(worker: Worker) -> Device:
    return Device(worker.device, worker.has_gpu, worker.memory)


def sign_off(session: Session, name: str) -> None:
    session.execute(delete(Worker).where(Worker.name == name))


def patience() -> timedelta:
    """How long a worker or a run may give no sign before it is given up."""
    return timedelta(seconds=get_settings().stale_after_seconds)


def live_workers(session: Session, at: datetime | None = None) -> list[Worker]:
    is_silent = is_far(Worker.heartbeat_at, at or now(), patience())
    return list(session.scalars(select(Worker).where(~is_silent).order_by(Worker.name)))


def run_workers(session: Session, at: datetime | None = None) -> list[Worker]:
    """Those that take runs, at work or idle."""
    return [worker for worker in live_workers(session, at) if worker.queue == Queue.touchstone]


def idle_workers(session: Session, at: datetime | None = None) -> list[Worker]:
    """Those that a queued run can be given to."""
    return [worker for worker in run_workers(session, at) if worker.run_id is None]


def devices_in_words(session: Session) -> str:
    """What could take a run now: `Now alive: 1 with a GPU (139.8 GiB), 2 without (31.3 GiB at most).`"""
    alive = [device_of(worker) for worker in run_workers(session)]
    said = []
    for words, own in (
        ("with a GPU", [d for d in alive if d.has_gpu]),
        ("without", [d for d in alive if not d.has_gpu]),
    ):
        largest = max((device.memory or 0 for device in own), default=0)
        if own:
            said.append(f"{len(own)} {words}" + (f" ({gib(largest)}{' at most' * (len(own) > 1)})" if largest else ""))
    return f"Now alive: {', '.join(said)}." if said else "No worker is alive now."


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
