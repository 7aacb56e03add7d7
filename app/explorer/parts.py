"""Long tables read in parts: a part looks through so many rows and no more, so each is quick however rare a find is."""

import uuid
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.core.errors import Invalid

Row = TypeVar("Row")
SHOWN = 50  # rows of a page


@dataclass(frozen=True, slots=True)
class Part(Generic[Row]):
    """The rows that a part found, and where the next begins: after a full page, or after what it looked through."""

    rows: list[Row]
    next: str  # the cursor; empty: there is nothing behind


def end_of_window(session: Session, keys: Select[Any], size: int) -> tuple[Any, ...] | None:
    """The last of the next `size` keys; None: there are fewer, so that the window reaches to the end."""
    row = session.execute(keys.offset(size - 1).limit(1)).first()
    return tuple(row) if row else None


def newest_part(
    session: Session, query: Select[Any], key: InstrumentedAttribute[uuid.UUID],
    here: ColumnElement[bool], *, after: str, shown: int, window: int,
) -> Part[Any]:  # fmt: skip
    """The next rows of a query, the newest first. `key` is the id of what its first column is, and of those that are
    `here` it looks through so many."""
    begin = read_cursor(after, (uuid.UUID,))
    inside = [here] + ([key < begin[0]] if begin else [])
    last = end_of_window(session, select(key).where(*inside).order_by(key.desc()), window)
    inside += [key >= last[0]] if last else []
    rows = list(session.execute(query.where(*inside).order_by(key.desc()).limit(shown + 1)))
    goes_on = rows[shown - 1][0].id if len(rows) > shown else last[0] if last else None
    return Part(rows[:shown], written(goes_on) if goes_on else "")


def before(columns: tuple[InstrumentedAttribute[Any], ...], values: tuple[Any, ...]) -> ColumnElement[bool]:
    """The condition that these columns, one after the other, come before these values."""
    (column, *rest), (value, *others) = columns, values
    less: ColumnElement[bool] = column < value
    return or_(less, and_(column == value, before(tuple(rest), tuple(others)))) if rest else less


def written(*keys: Any) -> str:
    return ".".join(key.hex if isinstance(key, uuid.UUID) else str(key) for key in keys)


def read_cursor(cursor: str, kinds: tuple[type, ...]) -> tuple[Any, ...] | None:
    """The keys of a cursor as `written`. Invalid if it is none."""
    if not cursor:
        return None
    try:
        keys = cursor.split(".")
        return tuple(kind(key) for kind, key in zip(kinds, keys, strict=True))
    except ValueError as error:
        raise Invalid("This address is broken off: it does not say where to go on.", mend="Begin anew.") from error
