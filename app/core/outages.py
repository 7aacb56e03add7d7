"""What a database or a disk that is away, full or read-only means for who asked, in words."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.core.errors import DomainError

KEEP = "Leave this page open: what you wrote stays on it, and handing it in again stores it once."
SECONDS = 5  # after which a script may try again
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
    number = getattr(error, "errno", None) or getattr(error.__cause__, "errno", None)
    said, code = str(getattr(error, "orig", error)).lower(), getattr(getattr(error, "orig", None), "sqlstate", None)
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
