"""One sweep of everything that time alone puts right."""

import logging

from sqlalchemy.exc import DBAPIError

from app.core.db import reading, writing
from app.core.errors import DomainError
from app.labeling import service as labeling
from app.prompts.intake import service as imports
from app.prompts.intake.discarding import left_half, remove_next
from app.runs.sweep import sweep
from app.runs.workers import count_import_workers

logger = logging.getLogger(__name__)


def sweep_once() -> None:
    """Each part by itself: what one of them meets is left to the next sweep, and keeps none of the others back."""
    for part in (_runs, _imports, _leases, _labelers, _discarded):
        try:
            part()
        except Exception as error:  # a sweep must never be the last
            is_ours = not isinstance(error, DBAPIError | DomainError | OSError)
            logger.warning("%s: left to the next sweep: %s", part.__name__[1:], error, exc_info=is_ours)


def _runs() -> None:
    with writing() as session:
        swept = sweep(session)
    if swept.abandoned or swept.nudged:
        logger.warning("sweep: %d silent runs handed on, %d nudges sent again", swept.abandoned, swept.nudged)


def _imports() -> None:
    with writing() as session:
        handed_on = imports.sweep(session, workers=count_import_workers(session))
    if handed_on:
        logger.warning("sweep: %d silent imports handed on", handed_on)


def _leases() -> None:
    with writing() as session:
        labeling.release_expired(session)


def _labelers() -> None:
    with writing() as session:
        labeling.follow_labelers(session)


def _discarded() -> None:
    """What is left of discarded imports. The last part, because it waits for the artefact store."""
    with reading() as session:
        discarded = left_half(session)
    for import_id in discarded:
        remove_next(import_id)
