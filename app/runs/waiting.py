"""Why a queued run waits, in words, and how many go before it."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.runs import line
from app.runs.line import Queued, bytes_on, can_hold, may_go
from app.runs.models import Run, RunState, Worker
from app.runs.needs import advice, gib
from app.runs.schemas import Where
from app.runs.workers import Device, device_of, run_workers


@dataclass(frozen=True, slots=True)
class Wait:
    """A queued run's place. `ahead` go before it now, of those that a worker for it could take instead; others'
    priorities and shares move it."""

    ahead: int
    why: str
    is_in_vain: bool  # no live worker can hold it


def waits_of(session: Session, runs: Sequence[Run]) -> dict[uuid.UUID, Wait]:
    """For those of the runs that are queued."""
    if not any(run.state == RunState.queued for run in runs):
        return {}
    alive = run_workers(session)
    order = line.in_order(session)
    places = {each.id: place for place, each in enumerate(order)}
    return {run.id: _wait(run, order, places[run.id], alive) for run in runs if run.id in places}


def wait_of(session: Session, run: Run) -> Wait | None:
    return waits_of(session, [run]).get(run.id)


def _wait(run: Run, order: Sequence[Queued], place: int, alive: Sequence[Worker]) -> Wait:
    own = order[place]
    able = [worker for worker in alive if can_hold(device_of(worker), own)]
    # Without a worker for it, its place is that among all.
    ahead = [each for each in order[:place] if not able or any(can_hold(device_of(worker), each) for worker in able)]
    if not able:
        return Wait(len(ahead), _in_vain(own, [device_of(worker) for worker in alive], run.config), True)
    if all(worker.run_id is not None for worker in able):
        busy = "The worker that can hold it is" if len(able) == 1 else f"The {len(able)} workers that can hold it are"
        return Wait(len(ahead), f"{busy} busy.", False)
    return Wait(len(ahead), "Others go first." if ahead else "A worker takes it in a moment.", False)


def _in_vain(run: Queued, alive: Sequence[Device], config: Mapping[str, object]) -> str:
    if not alive:
        return "No worker is running."
    allowed = [device for device in alive if may_go(device, run.device)]
    if not allowed:
        return "No live worker has a GPU." if run.device == Where.gpu else "Every live worker has a GPU."
    nearest = max(allowed, key=lambda device: (device.memory or 0) / bytes_on(device, run))
    kind = " with a GPU" if run.device == Where.gpu else " without a GPU" if run.device == Where.cpu else ""
    need, has = gib(bytes_on(nearest, run)), gib(nearest.memory or 0)
    return f"It needs {need} of memory at least; the largest live worker{kind} has {has}.{advice(config)}"
