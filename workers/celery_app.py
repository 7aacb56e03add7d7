"""The consumer: `celery -A workers.celery_app worker --pool solo`, one process for each device.

Nothing of torch is imported here: it is loaded by the first job that needs it.
"""

import logging
import os
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from celery import signals

from app import tables  # noqa: F401  the metadata must be whole before the first query
from app.core.logs import bind, bound, configure_logs
from app.core.queue import REQUEST_HEADER, JobName, Queue, get_celery, own_queue
from app.core.traces import add_to_span, configure_traces, end_traces, span
from app.runs.models import Run
from workers.jobs.pulse import Pulse
from workers.jobs.shelf import Shelf
from workers.jobs.sweep import sweep_once

# Read by OpenMP when torch is loaded, later: threads that wait for each other sleep instead of spinning. Spinning gains
# little on an idle machine, and beside one busy neighbour it made two threads slower than one (2.0 s a step for 1.3 s).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

celery = get_celery()
celery.conf.update(
    worker_pool="solo",  # models stay warm between jobs, CUDA is never forked
    worker_concurrency=1,  # or a busy worker would be handed a message for each core by a broker that pushes
    broker_connection_max_retries=None,  # the broker comes back: so does the worker
    worker_cancel_long_running_tasks_on_connection_loss=False,
)

logger = logging.getLogger(__name__)
# What each job's one argument is the id of, as its log lines call it; a worker finds out by itself which run is next.
ABOUT = {
    JobName.add_model: "model_id",
    JobName.draw_share: "share_id",
    JobName.import_prompts: "import_id",
    JobName.answer: "question_id",
}
_trace = ExitStack()  # of the one job that is under way
pulse = Pulse()
shelf = Shelf()  # the playground's models


@signals.setup_logging.connect
def _on_setup_logging(**_: Any) -> None:
    configure_logs("worker")  # and Celery leaves logging alone
    configure_traces("worker")


@signals.task_prerun.connect
def _on_job(task: Any, args: Sequence[str], **_: Any) -> None:
    """Every line until the job's end says what it is about, and which request asked for it."""
    request_id = (task.request.headers or {}).get(REQUEST_HEADER)
    about = ABOUT.get(JobName(task.name))
    bind(**({about: args[0]} if about else {}), **({"request_id": request_id} if request_id else {}))
    logger.info("%s begins", task.name)
    traced = _trace.enter_context(span(task.name, carried=_texts(task.request.headers or {}), is_server=False))
    if traced is not None and about:
        traced.set_attribute(f"touchstone.{about}", args[0])


def _tell_claimed(run: Run, nudged: str) -> None:
    """From here on it is about the run that was next, whichever the message named: then nobody's request is behind."""
    request_id = bound("request_id") if str(run.id) == nudged else None
    bind(run_id=str(run.id), **({"request_id": request_id} if request_id else {}))
    add_to_span("touchstone.run_id", str(run.id))
    logger.info("run claimed")


def _texts(headers: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if isinstance(value, str)}


@signals.task_postrun.connect
def _on_job_done(task: Any, **_: Any) -> None:
    _trace.close()
    logger.info("%s ends", task.name)
    bind()


@signals.celeryd_after_setup.connect
def _on_setup(instance: Any, **_: Any) -> None:
    if Queue.touchstone.value in instance.app.amqp.queues.consume_from:
        own = own_queue(pulse.name)
        # Celery would bind it to an exchange, and Redis would remember that for ever.
        instance.app.amqp.queues.select_add(own).exchange = own.exchange


@signals.worker_ready.connect
def _on_ready(sender: Any, **_: Any) -> None:
    served = sender.app.amqp.queues.consume_from
    pulse.start(next(queue for queue in Queue if queue.value in served))
    sweep_once()  # what was queued while no worker ran, its message lost


@signals.worker_shutting_down.connect
def _on_shutting_down(**_: Any) -> None:
    pulse.is_shutting_down = True


@signals.worker_shutdown.connect
def _on_shutdown(**_: Any) -> None:
    pulse.end()
    end_traces()


@celery.task(name=JobName.run.value)
def run(run_id: str) -> None:
    """Work on the run that is next in the line, which need not be this one; there may be none for this worker."""
    from workers.jobs.run import work_on_next

    shelf.clear()
    work_on_next(pulse, lambda run: _tell_claimed(run, run_id))
    sweep_once()  # what waited for an idle worker is sent to this one at once


@celery.task(name=JobName.draw_share.value)
def draw_share(share_id: str) -> None:
    """Draw episodes for a run that is trained elsewhere; a duplicate finds the share taken and stops."""
    from workers.jobs.draw_share import draw

    draw(uuid.UUID(share_id), pulse)


@celery.task(name=JobName.import_prompts.value)
def import_prompts(import_id: str) -> None:
    """Work on an import of prompts; a duplicate finds it claimed and stops."""
    from workers.jobs.prompt_import import work_on

    work_on(uuid.UUID(import_id), pulse)
    sweep_once()  # what waited for this one is sent at once


@celery.task(name=JobName.add_model.value)
def add_model(model_id: str) -> None:
    """Check and store a base model; a duplicate finds it settled and stops."""
    from workers.jobs.models import add

    shelf.clear()
    add(uuid.UUID(model_id))


@celery.task(name=JobName.answer.value)
def answer(ask_id: str) -> None:
    """Answer a question of the playground; a duplicate finds it taken and stops."""
    from workers.jobs.playground import answer as answer_question

    answer_question(uuid.UUID(ask_id), pulse, shelf)
