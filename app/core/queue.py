"""The queue carries ids and nudges only: the rows are the truth. Sent after commit, never after a rollback."""

import logging
import uuid
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache, partial
from typing import Any, NamedTuple

from celery import Celery
from kombu.entity import Exchange
from kombu.entity import Queue as BrokerQueue
from sqlalchemy import event
from sqlalchemy.orm import Session

from app.core.broker import PATIENCE, UNREACHABLE, celery_settings
from app.core.config import get_settings
from app.core.logs import bound
from app.core.traces import to_carry

logger = logging.getLogger(__name__)
REQUEST_HEADER = "touchstone_request_id"
LONGEST_NAME = 200  # of a queue; AMQP keeps 255 bytes
FORGOTTEN_AFTER = 3600.0  # seconds without its worker


class Queue(StrEnum):
    """What a worker takes its work from: runs and models, shares of the episodes of runs that others train, imports of
    prompts, which need no trainers and do not wait for a run to end, or the playground's questions, which workers of
    runs take as well while they have no run."""

    touchstone = "touchstone"
    sampling = "sampling"
    imports = "imports"
    playground = "playground"


class JobName(StrEnum):
    """Celery task names, as the worker registers them."""

    run = "touchstone.run"
    add_model = "touchstone.add_model"
    draw_share = "touchstone.draw_share"
    import_prompts = "touchstone.import_prompts"
    answer = "touchstone.answer"


@lru_cache
def get_celery() -> Celery:
    """The Celery application, shared by producer (web) and consumer (workers.celery_app)."""
    celery = Celery("touchstone")
    celery.conf.update(
        **celery_settings(get_settings()),
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
        task_default_queue=Queue.touchstone.value,
        task_routes={
            JobName.draw_share.value: {"queue": Queue.sampling.value},
            JobName.import_prompts.value: {"queue": Queue.imports.value},
            JobName.answer.value: {"queue": Queue.playground.value},
        },
        worker_hijack_root_logger=False,
        timezone="UTC",
    )
    return celery


def own_queue(worker: str) -> BrokerQueue:
    """Where one worker is sent what others could not take. A broker that can forgets it when the worker is gone."""
    name = f"{Queue.touchstone.value}.{worker}"[:LONGEST_NAME]
    nowhere = Exchange("")  # type: ignore[no-untyped-call]
    return BrokerQueue(name, nowhere, routing_key=name, expires=FORGOTTEN_AFTER)  # type: ignore[no-untyped-call]


class Nudge(NamedTuple):
    name: JobName
    argument: str
    to: str = ""  # a worker; empty: whoever comes first


def send_now(name: JobName, argument: str, to: str = "") -> None:
    """Send a message about what is no row; raises what `UNREACHABLE` names where there is no queue to take it."""
    request_id = bound("request_id")  # so that the worker's lines say who asked
    headers = {REQUEST_HEADER: request_id} if request_id else {}
    where = {"queue": own_queue(to)} if to else {}
    headers = headers | to_carry()
    get_celery().send_task(name.value, args=[argument], headers=headers or None, confirm_timeout=PATIENCE, **where)


def _send(name: JobName, argument: str, to: str) -> None:
    try:
        send_now(name, argument, to)
    except UNREACHABLE as error:
        # The row is queued; the sweep sends it again when the broker is back.
        logger.warning("queue not reachable, %s(%s) waits for the sweep: %s", name, argument, error)


def enqueue(session: Session, name: JobName, row_id: uuid.UUID, *, to: str = "") -> None:
    """Nudge a worker about a row once this transaction is committed; says nothing after a rollback."""
    pending: list[Nudge] = session.info.setdefault("nudges", [])
    pending.append(Nudge(name, str(row_id), to))


@event.listens_for(Session, "after_commit")
def _after_commit(session: Session) -> None:
    later: list[Callable[[], None]] | None = session.info.get("later")
    for nudge in session.info.pop("nudges", []):
        if later is None:
            _send(*nudge)
        else:
            later.append(partial(_send, *nudge))


@event.listens_for(Session, "after_rollback")
def _after_rollback(session: Session, *_: Any) -> None:
    session.info.pop("nudges", None)
