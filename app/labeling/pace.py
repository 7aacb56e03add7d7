"""How fast a batch goes, and when it will be done at that pace."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.core.clock import now
from app.labeling.models import Assignment, Batch, Item

LOOKED_AT = timedelta(days=7)  # a whole week, so that quiet weekends weigh as they do
SHORTEST = timedelta(hours=1)
LEAST = 3  # fewer submissions are no pace


@dataclass(frozen=True, slots=True)
class Pace:
    per_day: float | None  # none: it cannot be told yet
    done_at: datetime | None


def pace_of(session: Session, batch: Batch, left: int) -> Pace:
    """From the submissions of the last seven days, or since the first of them if that is less."""
    at = now()
    # From each person's last days to the batch: a batch may hold a million judgments, a week only a few thousand.
    query = (
        select(func.count(), func.min(Assignment.submitted_at))
        .where(Assignment.person_id.in_(select(Person.id)), Assignment.submitted_at > at - LOOKED_AT)
        .where(exists().where(Item.id == Assignment.item_id, Item.batch_id == batch.id))
    )
    submitted, first = session.execute(query).one()
    if submitted < LEAST or first is None:
        return Pace(None, None)
    per_day = submitted / (max(at - first, SHORTEST) / timedelta(days=1))
    return Pace(per_day, at + timedelta(days=left / per_day) if left else None)
