"""Long tables read in parts: a part looks through so many rows and no more, so each is quick however rare a find is."""

import uuid
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, and_, or_
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
