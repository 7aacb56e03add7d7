"""Engine, sessions and column types for SQLite and PostgreSQL."""

import math
import secrets
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnClause,
    Connection,
    DateTime,
    Engine,
    Enum,
    MetaData,
    String,
    Uuid,
    create_engine,
    event,
    literal_column,
    make_url,
)
from sqlalchemy.engine import Dialect, ExceptionContext
from sqlalchemy.exc import DisconnectionError, InvalidRequestError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeDecorator

from app.core.clock import now
from app.core.config import get_settings
from app.core.outages import is_the_files
from app.core.turns import Turn

IDLE_SECONDS = 5.0  # a connection to PostgreSQL that was used since is taken to be alive


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time; SQLite, which keeps no zone, gets it back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError(f"a time without a zone: {value!r}")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def text_enum(kind: type[StrEnum]) -> Enum:
    """An enum kept as its value in a short text column, checked by the database."""
    return Enum(
        kind,
        values_callable=lambda e: [m.value for m in e],
        native_enum=False,
        length=32,
        create_constraint=True,
        name=kind.__name__.lower(),
    )


def constant(value: StrEnum | int) -> ColumnClause[Any]:
    """A value that a statement always has, written into it. Sent beside it, PostgreSQL can't know it in a plan that it
    keeps (how few leases run, that one row is enough), and so makes a new plan each time."""
    return literal_column(str(value) if isinstance(value, int) else f"'{value}'")


class Base(DeclarativeBase):
    """Tables name their constraints by rule, so that migrations can drop them on either database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012
        datetime: UtcDateTime(),
        uuid.UUID: Uuid(),
        dict[str, Any]: JSON(none_as_null=True),
        list[Any]: JSON(none_as_null=True),
        str: String(),
    }


def new_id() -> uuid.UUID:
    """A UUID of version 7 (RFC 9562): the time in milliseconds, then 74 random bits. Rows made together lie together in
    every index; with random ids each row of a large table costs a page of its own."""
    chance = secrets.randbits(74)
    high = (time.time_ns() // 1_000_000) << 16 | 0x7000 | chance >> 62
    return uuid.UUID(int=high << 64 | 0b10 << 62 | chance & (1 << 62) - 1)


class Identified:
    """A row with a UUID and the time it was made."""

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    created_at: Mapped[datetime] = mapped_column(default=now)


def _prepare_sqlite(engine: Engine) -> None:
    """WAL, foreign keys, and BEGIN IMMEDIATE for sessions that write (sqlite3's own transaction handling is off)."""

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        turn: Turn | None = connection.get_execution_options().get("touchstone_turn")
        if turn is not None:
            turn.take(connection.engine.url.database or "")
        connection.exec_driver_sql("BEGIN" if turn is None else "BEGIN IMMEDIATE")

    @event.listens_for(engine, "handle_error")
    def _on_error(context: ExceptionContext) -> None:
        # SQLite opens a file that it may not write to for reading, without a word, and stays with that for good.
        context.is_disconnect = context.is_disconnect or is_the_files(context.original_exception)


def make_engine(url: str) -> Engine:
    """An engine for `url`. SQLite's file and folder are made when missing. Its errors name no values: they are logged,
    and values are people's texts and hashes of passwords."""
    if url.startswith("sqlite"):
        engine = create_engine(url, connect_args={"check_same_thread": False}, hide_parameters=True)
        _prepare_sqlite(engine)
        return engine
    # Two for each thread that answers requests, since some read while they write, and none opened and closed each time;
    # the one used last first, whose server process has all it needs at hand.
    engine = create_engine(
        url, pool_size=12, max_overflow=0, pool_use_lifo=True, hide_parameters=True, connect_args=_patience(url)
    )
    _test_idle_connections(engine)
    return engine


# Where a network is cut nobody is told: without these a connection waits for its server for hours (libpq's words).
_PATIENCE = {"connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
             "tcp_user_timeout": 20_000}  # fmt: skip


def _patience(url: str) -> dict[str, int]:
    """What the address does not say itself."""
    return {name: value for name, value in _PATIENCE.items() if name not in make_url(url).query}


def _test_idle_connections(engine: Engine) -> None:
    """Find out before its use that the server has gone or was restarted, but only of a connection that lay idle: a test
    of each (SQLAlchemy's `pool_pre_ping`) would be one statement in six."""

    @event.listens_for(engine, "checkin")
    def _on_checkin(_connection: Any, record: ConnectionPoolEntry) -> None:
        record.info["idle_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _on_checkout(connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
        if time.monotonic() - record.info.get("idle_since", math.inf) < IDLE_SECONDS:
            return
        try:
            alive = engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error:
            alive = False
        if not alive:
            raise DisconnectionError("The database's server has closed an idle connection.")


@lru_cache
def get_engine() -> Engine:
    """The process's engine, made once from the settings."""
    settings = get_settings()
    if settings.database.startswith("sqlite"):
        settings.state_dir.mkdir(parents=True, exist_ok=True)
    return make_engine(settings.database)


@lru_cache(maxsize=8)
def _reader(engine: Engine) -> Engine:
    """PostgreSQL sees a new state with each statement anyway, so a transaction around those that read only costs its
    beginning and its end."""
    return engine if engine.dialect.name == "sqlite" else engine.execution_options(isolation_level="AUTOCOMMIT")


class OnlyReading(Session):
    """A session in which writing is a mistake."""

    def flush(self, objects: Sequence[Any] | None = None) -> None:
        if self.new or self.dirty or self.deleted:
            raise InvalidRequestError("A session that reads was asked to write.")


class ReadingSession(OnlyReading):
    """Each statement by itself, where the database can do that."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(_reader(engine), expire_on_commit=False)
        self.in_transactions = engine

    def get_bind(self, mapper: Any = None, *, clause: Any = None, **options: Any) -> Engine | Connection:
        """What comes piece by piece needs a cursor that lasts, and PostgreSQL keeps one in a transaction only."""
        if clause is not None and clause.get_execution_options().get("yield_per"):
            return self.in_transactions
        return super().get_bind(mapper, clause=clause, **options)


@contextmanager
def reading(engine: Engine | None = None) -> Iterator[Session]:
    """A session that only reads; nothing of it is committed."""
    with ReadingSession(engine or get_engine()) as session:
        yield session


@contextmanager
def reading_one_state(engine: Engine | None = None) -> Iterator[Session]:
    """A session that only reads, all of it as the database was at its first statement, for as long as that takes:
    others write meanwhile. SQLite reads so in any transaction; PostgreSQL has to be asked."""
    engine = engine or get_engine()
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with OnlyReading(engine, expire_on_commit=False) as session:
        yield session


@contextmanager
def writing(engine: Engine | None = None) -> Iterator[Session]:
    """One transaction: committed at the end, rolled back on an error. Writers of a SQLite file take turns. What
    `info["later"]` holds by the commit is called after it and after the turn: a queue may be slow to answer."""
    engine, later = engine or get_engine(), list[Callable[[], None]]()
    turn = Turn()
    bound = engine.execution_options(touchstone_turn=turn) if engine.dialect.name == "sqlite" else engine
    try:
        with Session(bound, expire_on_commit=False, info={"later": later}) as session, session.begin():
            yield session
    finally:
        turn.give_back()
    for call in later:
        call()
