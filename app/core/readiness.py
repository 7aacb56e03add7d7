"""Whether this process can do its work now: what /readyz says, in words that hold no address and no secret."""

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import redis
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from app.core import broker
from app.core.config import get_settings
from app.core.storage import get_artefacts
from app.core.store_errors import StoreAway

logger = logging.getLogger(__name__)
PATIENCE = 1.5  # seconds for all parts together: a load balancer asks every few seconds and waits for two or three
OK = "ok"


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at a part found; without what is needed there is no work, without the rest there is less."""

    words: str
    is_needed: bool = True


class Probe:
    """One part, looked at in a thread of its own: one that hangs holds up nobody, and is not asked again meanwhile."""

    def __init__(self, look: Callable[[], Found], *, lasts: float, is_needed: bool = True) -> None:
        self._look, self._lasts, self._is_needed = look, lasts, is_needed
        self._answer: Future[Found] | None = None
        self._good_until = 0.0

    async def ask(self, patience: float) -> Found:
        """The answer, at most as old as it lasts where all was well."""
        if self._answer is None or (self._answer.done() and time.monotonic() > self._good_until):
            self._answer = Future()
            threading.Thread(target=self._work, args=(self._answer,), name="readiness", daemon=True).start()
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._answer)), patience)
        except TimeoutError:
            return Found(f"does not answer within {patience:g} s", is_needed=self._is_needed)

    def _work(self, answer: Future[Found]) -> None:
        try:
            found = self._look()
        except Exception as error:  # each kind of store has its own
            logger.warning("not ready: %s", type(error).__name__, exc_info=error)
            found = Found("cannot be used; the log says why")
        self._good_until = time.monotonic() + (self._lasts if found.words == OK else 1.0)
        answer.set_result(found)


class Readiness:
    """The parts that a web process leans on."""

    def __init__(self) -> None:
        settings = get_settings()
        self._probes = {
            "database": Probe(look_at_database, lasts=1.0),
            # RabbitMQ writes a line about each connection.
            "queue": Probe(look_at_queue, lasts=15.0 if settings.is_rabbitmq else 1.0, is_needed=False),
            # A store that is paid by the request is asked less.
            "artefacts": Probe(look_at_artefacts, lasts=1.0 if get_artefacts().is_local else 15.0),
        }
        if settings.broker_url is not None:
            self._probes["redis"] = Probe(look_at_redis, lasts=1.0, is_needed=False)

    async def ask(self) -> dict[str, Found]:
        found = await asyncio.gather(*(probe.ask(PATIENCE) for probe in self._probes.values()))
        return dict(zip(self._probes, found, strict=True))


def as_answer(found: dict[str, Found]) -> tuple[int, dict[str, object]]:
    """The status and the body: 503 when something that is needed is wrong."""
    wrong = [each for each in found.values() if each.words != OK]
    is_down = any(each.is_needed for each in wrong)
    status = "not ready" if is_down else "degraded" if wrong else "ready"
    return 503 if is_down else 200, {"status": status, "parts": {name: each.words for name, each in found.items()}}


def look_at_database() -> Found:
    """On a connection of its own: a pool whose connections are all at work is busy, not broken."""
    try:
        at, takes_changes = _revision(get_settings().database)
    except (SQLAlchemyError, OSError) as error:
        logger.warning("the database does not answer", exc_info=error)
        return Found("does not answer")
    if not takes_changes:
        return Found("takes no changes: it is read-only")
    newest, known = _revisions()
    if at == newest:
        return Found(OK)
    if at is None or at in known:
        return Found(f"is at {at or 'no revision'}, this version needs {newest}: run `touchstone migrate`")
    # While a newer version is brought in, the old processes go on beside it until they are replaced.
    return Found(f"is at {at}, which a newer version made; this one knows {newest}", is_needed=False)


def _revision(address: str) -> tuple[str | None, bool]:
    """Where the database stands, and whether it can be written to."""
    url = make_url(address)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        raise FileNotFoundError("there is no database file")
    options = {"connect_timeout": 2} if url.get_backend_name() == "postgresql" else {}
    engine = create_engine(url, poolclass=NullPool, connect_args=options, hide_parameters=True)
    with engine.connect() as connection:
        if not engine.dialect.has_table(connection, "alembic_version"):
            return None, True
        at: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        if url.get_backend_name() == "sqlite":
            return at, os.access(url.database or "", os.W_OK)
        return at, connection.scalar(text("SHOW transaction_read_only")) == "off"


@cache
def _revisions() -> tuple[str, frozenset[str]]:
    """The newest revision of this version, and all that it knows."""
    from alembic.script import ScriptDirectory  # not before somebody asks: the pages are there sooner

    from app.core.migrate import alembic_config, newest_revision

    config = alembic_config()
    known = {each.revision for each in ScriptDirectory.from_config(config).walk_revisions()}
    return newest_revision(config), frozenset(known)


def look_at_queue() -> Found:
    """Without it labeling works and runs wait: the sweep sends what was lost."""
    try:
        broker.ask(get_settings())
    except broker.BrokerAway as error:
        logger.warning("the queue does not answer: %s", type(error.__cause__).__name__)
        return Found("does not answer; labeling works, runs wait", is_needed=False)
    return Found(OK)


def look_at_redis() -> Found:
    """Where something else carries the queue, Redis carries the words of the playground alone."""
    try:
        with redis.from_url(get_settings().redis_address, socket_timeout=1, socket_connect_timeout=1) as client:
            client.ping()
    except (redis.RedisError, OSError) as error:
        logger.warning("Redis does not answer: %s", type(error).__name__)
        return Found("does not answer; the playground waits", is_needed=False)
    return Found(OK)


def look_at_artefacts() -> Found:
    """Whether a small file can be written: a folder that is full or read-only looks well until then."""
    try:
        get_artefacts().try_writing(f"ready-{socket.gethostname()}-{os.getpid()}.part")
    except OSError as error:
        logger.warning("the artefact store takes nothing", exc_info=error)
        return Found("takes no files")
    except StoreAway as error:
        logger.warning("the artefact store takes nothing: %s", error.message, exc_info=error)
        return Found(f"takes no files. {error.message}")
    return Found(OK)
