"""An import of prompts from its claim to its end: fetched, checked whole, taken chunk by chunk, compared, settled.

Needs no torch. What is done stands in the database with the position reached, so a worker that is killed at any moment
loses nothing and takes nothing twice: the next one goes on.
"""

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from app.core.db import reading
from app.core.errors import DomainError
from app.core.storage import get_artefacts
from app.prompts.intake import comparing, service, settling, taking
from app.prompts.intake.service import ClaimLost
from app.prompts.intake.settings import ImportSettings
from app.prompts.models import PromptImport, Stage
from app.prompts.readers import nothing_in_it
from app.prompts.splits import SplitBook
from workers.jobs.patience import patiently
from workers.jobs.pulse import Pulse

logger = logging.getLogger(__name__)
ROWS_BETWEEN_LOOKS = 10_000


class Interrupted(Exception):
    """Someone asked to stop, or the worker shuts down."""


@dataclass(slots=True)
class Held:
    """An import that this worker holds."""

    row: PromptImport
    claim: str
    pulse: Pulse

    @property
    def settings(self) -> ImportSettings:
        return ImportSettings.model_validate(self.row.settings)

    def progress(self, **values: object) -> None:
        """Keep how far it has come; raises Interrupted."""
        self.heed(patiently(lambda s: service.progress(s, self.row.id, claim=self.claim, **values)))

    def heed(self, is_stop_asked: bool) -> None:
        if is_stop_asked or self.pulse.is_shutting_down:
            raise Interrupted


def work_on(import_id: uuid.UUID, pulse: Pulse) -> None:
    """Claim the import and work on it to its end, a stop, or the worker's shutdown. A duplicate does nothing."""
    row = patiently(lambda session: service.claim(session, import_id, worker=pulse.name))
    if row is None:
        logger.info("import %s is claimed or ended already, or another of its project is at work", import_id)
        return
    held = Held(row, row.claimed_by or "", pulse)
    with pulse.importing(row):
        try:
            _work(held)
        except ClaimLost:
            logger.warning("import %s was taken over by another worker", import_id)
        except Interrupted:
            _end_unfinished(held)
        except Exception as error:  # the edge of a job: whatever broke, the import must say so
            _fail(held, error)


def _work(held: Held) -> None:
    if held.row.stage == Stage.fetch:
        from workers.jobs.hub import fetch  # the Hub's packages are there where they are needed

        fetch(held)
        return
    stages: dict[Stage, Callable[[Held], None]] = {Stage.check: _check, Stage.take: _take, Stage.settle: _settle}
    for stage, work in stages.items():
        if held.row.stage == stage:
            work(held)
    key = patiently(lambda session: service.finish(session, held.row.id, claim=held.claim))
    if key:
        get_artefacts().remove(key)  # only now: its prompts are safe


def _next(held: Held, stage: Stage, **values: object) -> None:
    held.progress(stage=stage, position=0, note="", **values)
    held.row.stage, held.row.position = stage, 0


def _check(held: Held) -> None:
    """Read the whole file before anything is taken, so that one that is broken in its middle changes nothing."""
    number = 0
    with get_artefacts().reading(held.row.upload_key or "") as file:
        for number, _ in enumerate(taking.rows_of(file, held.row.format), start=1):
            if number % ROWS_BETWEEN_LOOKS == 0:
                held.progress(position=number)
    if not number:
        raise nothing_in_it()
    _next(held, Stage.take, total=number)


def _take(held: Held) -> None:
    store, settings, book, position = get_artefacts(), held.settings, SplitBook(), held.row.position
    with store.reading(held.row.upload_key or "") as file:
        rows = islice(taking.rows_of(file, held.row.format), position, None)
        while chunk := list(islice(rows, taking.ROWS_AT_ONCE)):
            read, start, position = taking.read_chunk(chunk, settings), position, position + len(chunk)
            held.heed(patiently(lambda session, read=read, start=start, position=position: taking.take_chunk(
                session, held.row, read, start=start, position=position, book=book, store=store)))  # fmt: skip
    _next(held, Stage.settle)


def _settle(held: Held) -> None:
    settings, after = held.settings, None
    if settings.near_alike:
        held.progress(note="Reads what is in the pool")
        while after := patiently(lambda session, after=after: comparing.fill_fingerprints(session, held.row, after)):
            held.progress()
    held.progress(note="Compares the prompts with each other")
    found = patiently(lambda session: comparing.compare(session, held.row, settings), within=reading)
    for start in range(found.pool, len(found.ids), settling.ROWS_AT_ONCE):
        held.heed(patiently(lambda session, start=start: settling.settle_chunk(
            session, held.row, found, settings, start=start)))  # fmt: skip


def _end_unfinished(held: Held) -> None:
    end = service.give_back if held.pulse.is_shutting_down else service.stop
    patiently(lambda session: end(session, held.row.id, claim=held.claim))


def _fail(held: Held, error: Exception) -> None:
    logger.error("import %s failed", held.row.id, exc_info=error)
    if isinstance(error, DomainError):
        reason = f"{error.message} {error.mend}".strip()
    else:
        reason = f"{type(error).__name__}: {str(error)[:500]}. The worker's own output says where."
    try:
        patiently(lambda session: service.fail(session, held.row.id, claim=held.claim, reason=reason))
    except ClaimLost:
        logger.warning("import %s was taken over before its failure could be written", held.row.id)
