"""Lists read in parts: what comes behind a row, so that no part costs more than the one before."""

import uuid
from typing import TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import Session

from app.core.db import Identified

Row = TypeVar("Row", bound=Identified)


def rows_after(
    session: Session, query: Select[Row], kind: type[Row], *, after: uuid.UUID | None, limit: int,
    newest_first: bool = True,
) -> tuple[list[Row], uuid.UUID | None]:  # fmt: skip
    """The rows behind `after` in the order of their ids, which is that of time, and the cursor for those behind."""
    if after is not None:
        query = query.where(kind.id < after if newest_first else kind.id > after)
    found = list(session.scalars(query.order_by(kind.id.desc() if newest_first else kind.id).limit(limit + 1)))
    return found[:limit], found[limit - 1].id if len(found) > limit else None
