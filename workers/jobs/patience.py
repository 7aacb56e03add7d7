"""Database work that waits for a database that is away, so that a long run survives its restart."""

import logging
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.orm import Session

from app.core.db import writing
from app.core.outages import is_our_mistake

logger = logging.getLogger(__name__)
T = TypeVar("T")

FIRST_WAIT, LONGEST_WAIT = 0.1, 10.0
LONGEST_ABSENCE = 3600.0  # seconds until a run gives up on its database


def patiently(
    work: Callable[[Session], T],
    *,
    patience: float = LONGEST_ABSENCE,
    within: Callable[[], AbstractContextManager[Session]] = writing,
) -> T:
    """One transaction around `work`, done again while the database is locked, restarting or not reachable.

    `work` may be done twice when the database went away between its commit and the answer, so it must be idempotent.
    """
    wait, deadline = FIRST_WAIT, time.monotonic() + patience
    while True:
        try:
            with within() as session:
                return work(session)
        except (OperationalError, InterfaceError, InternalError) as error:
            if is_our_mistake(error) or time.monotonic() + wait > deadline:
                raise
            logger.warning("database not reachable, trying again in %.1f s: %s", wait, str(error.orig).strip())
        time.sleep(wait * random.uniform(0.8, 1.2))
        wait = min(wait * 2, LONGEST_WAIT)
