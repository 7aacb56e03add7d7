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
_FULL, _READ_ONLY = ("53100",), ("25006",)  # PostgreSQL's disk_full and read_only_sql_transaction


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
    number = getattr(error, "errno", None) or getattr(error.__cause__, "errno", None)
    code = getattr(getattr(error, "orig", None), "sqlstate", None)
    said = "" if code else str(getattr(error, "orig", error)).lower()  # where a code tells, words may be a table's name
    if number == errno.ENOSPC or code in _FULL or "disk is full" in said or "no space left" in said:
        return DiskFull(
            "The server’s disk is full, so this is not stored.", mend=f"An admin has to free space on it. {KEEP}"
        )
    if number == errno.EROFS or code in _READ_ONLY or "readonly" in said:
        return Outage("The server’s disk or database takes no changes just now, so this is not stored.",
                      mend=f"An admin has to see why it is read-only. {KEEP}")  # fmt: skip
    if number == errno.EIO or "disk i/o error" in said:
        return Outage("The server’s disk fails, so this is not stored.", mend=f"An admin has to look at it. {KEEP}")
    if isinstance(error, OperationalError | InterfaceError | PoolTimeout) or _is_cut_off(error):
        return Outage("The database does not answer just now, so this may not be stored.",
                      mend=f"It is tried again in a moment. {KEEP}")  # fmt: skip
    return None


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
