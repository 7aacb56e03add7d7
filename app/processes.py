"""The commands of the background processes, run by `up` as children or by a person one at a time."""

import importlib.util
import os
import sys
from typing import NoReturn

from app.core.config import Settings
from app.core.queue import Queue
from app.serving import CannotStart

# A first try is often made as root; Celery's nine lines about that would hide the address and the link.
_QUIET = ("-W", "ignore:You're running the worker with superuser privileges")
_CELERY = (sys.executable, *_QUIET, "-m", "celery", "-A", "workers.celery_app", "-q")


def has_trainers() -> bool:
    """Whether the `train` extra is here; a machine may run the web alone."""
    return importlib.util.find_spec("torch") is not None


def worker_command(queue: Queue = Queue.touchstone) -> tuple[str, ...]:
    """A worker: one process, one job at a time, for one device."""
    served = f"{queue.value},{Queue.playground.value}" if queue is Queue.touchstone else queue.value
    quietly = ("--pool", "solo", "--without-gossip", "--without-mingle", "--loglevel", "WARNING")
    return (*_CELERY, "worker", *quietly, "--queues", served)


def scheduler_command() -> tuple[str, ...]:
    """The scheduler, which looks for stale and lost runs."""
    return (sys.executable, "-m", "workers.scheduler")


def become_worker(settings: Settings, queue: Queue) -> NoReturn:
    """Turn this process into a worker."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    if queue is not Queue.imports and not has_trainers():
        raise CannotStart(
            "A worker needs the trainers' packages, and torch is not installed.",
            mend="Run `pip install -c constraints.txt -e '.[train]'`.",
        )
    _become(worker_command(queue))


def become_scheduler() -> NoReturn:
    """Turn this process into the scheduler."""
    _become(scheduler_command())


def _become(command: tuple[str, ...]) -> NoReturn:
    os.execv(command[0], command)  # noqa: S606
