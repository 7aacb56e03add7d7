"""What a database or a disk that is away, full or read-only means for who asked, in words."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.core.errors import DomainError

KEEP = "Leave this page open: what you wrote stays on it, and handing it in again stores it once."
SECONDS = 5  # after which a script may try again
_SQLITE_IS_AWAY = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL,
}  # fmt: skip
# PostgreSQL's disk_full and read_only_sql_transaction, and what SQLite and the system call the same. No words: those
# hold names of files and tables.
_FULL = {("sqlstate", "53100"), ("sqlite", sqlite3.SQLITE_FULL), ("errno", errno.ENOSPC)}
_READ_ONLY = {("sqlstate", "25006"), ("sqlite", sqlite3.SQLITE_READONLY), ("errno", errno.EROFS)}
_FAILS = {("sqlite", sqlite3.SQLITE_IOERR), ("errno", errno.EIO)}


class Outage(DomainError):
    """Nobody's mistake who asked: what was sent is to be sent again."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "Touchstone can’t store anything just now"


class DiskFull(Outage):
    status = HTTPStatus.INSUFFICIENT_STORAGE
    title = "The disk is full"


def outage(error: BaseException) -> Outage | None:
    """What an error of the database or of the disk means; none where it is a mistake of ours."""
    if is_our_mistake(error):
        return None
    said = _codes(error)
    if said & _FULL:
        return DiskFull(
            "The server’s disk is full, so this is not stored.", mend=f"An admin has to free space on it. {KEEP}"
        )
    if said & _READ_ONLY:
        return Outage("The server’s disk or database takes no changes just now, so this is not stored.",
                      mend=f"An admin has to see why it is read-only. {KEEP}")  # fmt: skip
    if said & _FAILS:
        return Outage("The server’s disk fails, so this is not stored.", mend=f"An admin has to look at it. {KEEP}")
    if isinstance(error, OperationalError | InterfaceError | PoolTimeout) or _is_cut_off(error):
        return Outage("The database does not answer just now, so this may not be stored.",
                      mend=f"It is tried again in a moment. {KEEP}")  # fmt: skip
    return None


def is_the_files(error: BaseException) -> bool:
    """Whether SQLite says that its file takes no changes, or can't be read."""
    return bool(_codes(error) & {("sqlite", sqlite3.SQLITE_READONLY), ("sqlite", sqlite3.SQLITE_IOERR)})


def _codes(error: BaseException) -> set[tuple[str, object]]:
    """What stopped it, as whoever stopped it numbers that."""
    source = getattr(error, "orig", None) or error
    return {
        ("sqlstate", getattr(source, "sqlstate", None)),
        ("sqlite", getattr(source, "sqlite_errorcode", 0) & 0xFF),
        ("errno", getattr(source, "errno", None)),
        ("errno", getattr(error.__cause__, "errno", None)),
    }


def is_our_mistake(error: BaseException) -> bool:
    """SQLite has one class of error for a table that is not there and a file that is away; codes tell them apart."""
    orig = getattr(error, "orig", None)
    return isinstance(orig, sqlite3.Error) and getattr(orig, "sqlite_errorcode", 0) & 0xFF not in _SQLITE_IS_AWAY


def _is_cut_off(error: BaseException) -> bool:
    return isinstance(error, DBAPIError) and error.connection_invalidated


@contextmanager
def outages_in_words() -> Iterator[None]:
    """For routes that show a refused form as it was typed."""
    try:
        yield
    except (DBAPIError, PoolTimeout, OSError) as error:
        if (told := outage(error)) is None:
            raise
        raise told from error
