"""One sweep of everything that time alone puts right."""

import logging

from sqlalchemy.exc import DBAPIError

from app.core.db import writing
from app.labeling import service as labeling
from app.prompts.intake import service as imports
from app.prompts.intake.discarding import left_half, remove_next
from app.runs.sweep import sweep
from app.runs.workers import count_import_workers

logger = logging.getLogger(__name__)


def sweep_once() -> None:
    """A sweep that the database or the artefact store refuses is left to the next one."""
    try:
        with writing() as session:
            swept = sweep(session)
        with writing() as session:
            handed_on = imports.sweep(session, workers=count_import_workers(session))
            discarded = left_half(session)
        for import_id in discarded:
            remove_next(import_id)
        with writing() as session:
            labeling.release_expired(session)
        with writing() as session:
            labeling.follow_labelers(session)
    except (DBAPIError, OSError) as error:
        logger.warning("this sweep was left out: %s", error)
        return
    if handed_on:
        logger.warning("sweep: %d silent imports handed on", handed_on)
    if swept.abandoned or swept.nudged:
        logger.warning("sweep: %d silent runs handed on, %d nudges sent again", swept.abandoned, swept.nudged)
