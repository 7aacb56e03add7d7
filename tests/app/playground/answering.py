"""Somebody to answer the playground's questions."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from app.core.config import Settings
from app.core.db import writing
from app.playground import line
from app.runs import workers
from app.runs.workers import Device
from tests.workers.jobs.processes import running_redis


@contextmanager
def idle_worker(settings: Settings) -> Iterator[redis.Redis]:
    """A Redis, and word of a worker that has no run and takes nothing: the test answers in its place."""
    with running_redis(settings), line.connected() as client:
        with writing() as session:
            workers.report(session, "box-1", device=Device("cpu"), run_id=None)
        yield client
