"""The time, always aware and in UTC."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, or_


def now() -> datetime:
    return datetime.now(UTC)


def is_far(column: Any, at: datetime, within: timedelta) -> ColumnElement[bool]:
    """Whether a time lies further from `at` than `within`. Also behind it: where a clock was set back, what was written
    before stands in times to come, and would be taken for fresh until the clock is there again."""
    return or_(column < at - within, column > at + within)


def has_come(column: Any, *, at: datetime, longest: timedelta) -> ColumnElement[bool]:
    """Whether a time to wait for has come. So has one further ahead than anybody waits, which a clock that ran ahead
    wrote: once that is right again, it would be waited for as long as it was wrong."""
    return or_(column <= at, column > at + longest)
