"""The worker's heartbeat: a thread that says, beside the training, that the worker and its run are alive."""

import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.core.clock import now
from app.core.config import get_settings
from app.core.db import writing
from app.core.errors import DomainError
from app.core.memory import memory as memory_here
from app.core.queue import Queue
from app.prompts.intake import service as imports
from app.prompts.models import PromptImport
from app.runs import service, shares, workers
from app.runs.models import Run, SamplingShare
from app.runs.workers import Device

logger = logging.getLogger(__name__)


class Pulse:
    """Beats for this process from `start` to `end`; `during` and `drawing` add what is worked on."""

    def __init__(self) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}"
        self.is_shutting_down = False
        self.device = Device("cpu")
        self._queue = Queue.touchstone
        self._run_id: uuid.UUID | None = None
        self._say_alive: Callable[[Session], object] = lambda _: None  # of what it works on
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_ended, name="pulse", daemon=True)

    def start(self, queue: Queue = Queue.touchstone) -> None:
        self._queue = queue
        self.device = Device("imports") if queue is Queue.imports else own_device()
        self.beat()
        self._thread.start()

    def end(self) -> None:
        """Stop beating and take the worker off the list; a database that is away keeps its row until it is stale."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._try(lambda session: workers.sign_off(session, self.name))

    @contextmanager
    def during(self, run: Run) -> Iterator[None]:
        claim = run.claimed_by
        assert claim is not None
        with self._at_work(run.id, lambda session: service.beat(session, run.id, claim=claim)):
            yield

    @contextmanager
    def drawing(self, share: SamplingShare) -> Iterator[None]:
        with self._at_work(share.run_id, lambda session: shares.beat(session, share)):
            yield

    @contextmanager
    def importing(self, row: PromptImport) -> Iterator[None]:
        claim = row.claimed_by
        assert claim is not None
        with self._at_work(None, lambda session: imports.beat(session, row.id, claim=claim)):
            yield

    @contextmanager
    def _at_work(self, run_id: uuid.UUID | None, say_alive: Callable[[Session], object]) -> Iterator[None]:
        self._run_id, self._say_alive = run_id, say_alive
        self.beat()
        try:
            yield
        finally:
            self._run_id, self._say_alive = None, lambda _: None
            self.beat()

    def beat(self) -> None:
        self._try(self._report)

    def _report(self, session: Session) -> None:
        say_alive = self._say_alive
        workers.report(session, self.name, device=self.device, run_id=self._run_id, queue=self._queue)
        workers.forget_dead(session, before=now() - timedelta(days=1))
        say_alive(session)

    def _beat_until_ended(self) -> None:
        while not self._ended.wait(get_settings().heartbeat_seconds):
            self.beat()

    def _try(self, work: Callable[[Session], None]) -> None:
        """A beat that fails is left to the next one."""
        try:
            with writing() as session:
                work(session)
        except Exception as error:  # a beat must never be the last: a silent run is handed on while it trains
            is_ours = not isinstance(error, DBAPIError | DomainError | OSError)
            logger.warning("a heartbeat was left out: %s", error, exc_info=is_ours)


def own_device() -> Device:
    """The GPU where there is one, else the machine, with its memory."""
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
        return Device(str(torch.cuda.get_device_name()), has_gpu=True, memory=int(memory))
    machine = memory_here()
    return Device(f"cpu, {torch.get_num_threads()} threads", memory=machine.total if machine else None)
