"""The consumer: `celery -A workers.celery_app worker --pool solo`, one process for each device.

Nothing of torch is imported here: the scheduler, which runs where no trainer is installed, loads this file too.
"""

import logging
import uuid
from typing import Any

from celery import signals

from app import tables  # noqa: F401  the metadata must be whole before the first query
from app.core.config import get_settings
from app.core.queue import JobName, get_celery
from workers.jobs.pulse import Pulse

logger = logging.getLogger(__name__)

celery = get_celery()
celery.conf.update(
    worker_pool="solo",  # models stay warm between jobs, CUDA is never forked
    broker_connection_max_retries=None,  # Redis comes back: so does the worker
    worker_cancel_long_running_tasks_on_connection_loss=False,
    beat_schedule={
        "sweep": {
            "task": JobName.sweep.value,
            "schedule": get_settings().sweep_seconds,
            # A worker in the middle of a run finds one sweep when it is done, not an hour of them.
            "options": {"expires": get_settings().sweep_seconds},
        }
    },
)

pulse = Pulse()


@signals.worker_ready.connect
def _on_ready(**_: Any) -> None:
    pulse.start()


@signals.worker_shutting_down.connect
def _on_shutting_down(**_: Any) -> None:
    pulse.is_shutting_down = True


@signals.worker_shutdown.connect
def _on_shutdown(**_: Any) -> None:
    pulse.end()


@celery.task(name=JobName.run.value)
def run(run_id: str) -> None:
    """Work on a queued run; a duplicate finds it claimed and stops."""
    from workers.jobs.run import work_on

    work_on(uuid.UUID(run_id), pulse)
    sweep()


@celery.task(name=JobName.add_model.value)
def add_model(model_id: str) -> None:
    """Check and store a base model; a duplicate finds it settled and stops."""
    from workers.jobs.models import add

    add(uuid.UUID(model_id))


@celery.task(name=JobName.sweep.value)
def sweep() -> None:
    """Hand on silent runs, send lost nudges again, take back leases that have run out."""
    from workers.jobs.sweep import sweep_once

    sweep_once()
