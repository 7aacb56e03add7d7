"""What people did: labels by day and kind, and active time by day and week, which is what pay goes by."""

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.core.clock import now
from app.core.errors import Invalid
from app.core.spreadsheet import csv_of
from app.labeling.leases import is_postgresql
from app.labeling.models import Assignment, AssignmentState, Batch, BatchKind, Item

USUAL = timedelta(weeks=8)
LONGEST = timedelta(days=366 * 2)


@dataclass(slots=True)
class Work:
    """Of a day or a week: labels submitted by kind, items skipped, and seconds of work on all of them."""

    labels: Counter[BatchKind] = field(default_factory=Counter)
    skipped: int = 0
    seconds: int = 0

    @property
    def hours(self) -> float:
        return self.seconds / 3600

    def add(self, other: "Work") -> None:
        self.labels.update(other.labels)
        self.skipped += other.skipped
        self.seconds += other.seconds


@dataclass(frozen=True, slots=True)
class Span:
    """Days in UTC, both included."""

    first: date
    last: date

    @property
    def bounds(self) -> tuple[datetime, datetime]:
        start, end = datetime.combine(self.first, time(), UTC), datetime.combine(self.last, time(), UTC)
        return start, end + timedelta(days=1)


def span_of(first: str, last: str) -> Span:
    """The days that a form names; the last eight weeks where it names none."""
    try:
        until = date.fromisoformat(last) if last else now().date()
        since = date.fromisoformat(first) if first else until - USUAL
        until + timedelta(days=1)  # the last day there is has none behind it
    except (ValueError, OverflowError):
        raise Invalid("These are no days.", mend="Write them as 2026-01-31.", fields={"first": first, "last": last}
                      ) from None  # fmt: skip
    if since > until:
        raise Invalid("The first day comes after the last.", fields={"first": "Choose an earlier day."})
    if until - since > LONGEST:
        raise Invalid("That is a longer time than can be shown at once.", mend="Choose two years or less.")
    return Span(since, until)


def work_by_day(session: Session, span: Span, person: Person | None = None) -> dict[tuple[uuid.UUID, date], Work]:
    """By person and day, oldest first. Time on items that were skipped or left is work too, on the day it was last
    seen."""
    at = func.coalesce(Assignment.submitted_at, Assignment.draft_saved_at, Assignment.created_at)
    start, end = span.bounds
    day = func.date(func.timezone("UTC", at)) if is_postgresql(session) else func.date(at)
    query = (
        select(
            Assignment.person_id,
            day,
            Batch.kind,
            func.sum(Assignment.active_seconds),
            func.count(case((Assignment.state == AssignmentState.submitted, 1))),
            func.count(case((Assignment.state == AssignmentState.skipped, 1))),
        )
        .join(Item, Item.id == Assignment.item_id)
        .join(Batch, Batch.id == Item.batch_id)
        .where(at >= start, at < end)
        .group_by(Assignment.person_id, day, Batch.kind)
    )
    if person is not None:
        query = query.where(Assignment.person_id == person.id)
    found: defaultdict[tuple[uuid.UUID, date], Work] = defaultdict(Work)
    for person_id, on, kind, seconds, submitted, skipped in session.execute(query):
        work = found[person_id, date.fromisoformat(str(on))]
        work.seconds += seconds
        work.labels[kind] += submitted
        work.skipped += skipped
    done = {key: work for key, work in found.items() if work.seconds or work.skipped or work.labels.total()}
    return dict(sorted(done.items(), key=lambda each: each[0][1]))


def by_week(days: Iterable[tuple[date, Work]]) -> dict[date, Work]:
    """Weeks by their Monday."""
    weeks: dict[date, Work] = {}
    for day, work in days:
        weeks.setdefault(day - timedelta(days=day.weekday()), Work()).add(work)
    return weeks


def hours_csv(people: Sequence[Person], work: dict[tuple[uuid.UUID, date], Work]) -> str:
    """A row for each person and day."""
    names = {person.id: person for person in people}
    columns = ["name", "email", "day", "week", *(kind.value for kind in BatchKind), "skipped", "active_hours"]
    rows = (
        [names[who].name, names[who].email, day.isoformat(), "{}-W{:02}".format(*day.isocalendar()[:2]),
         *(done.labels[kind] for kind in BatchKind), done.skipped, done.hours]
        for (who, day), done in work.items()
        if who in names
    )  # fmt: skip
    return csv_of(columns, rows)
