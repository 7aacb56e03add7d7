"""Which item a labeler gets next, and for how long. One statement takes a place: no two people hold the same."""

import random
import uuid
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Row,
    Select,
    String,
    bindparam,
    cast,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.dml import ReturningUpdate

from app.accounts.models import Person
from app.accounts.preferences import Content, preferences_of
from app.core.clock import has_come, now
from app.core.config import get_settings
from app.core.db import constant
from app.labeling.bench import own_assignment
from app.labeling.eligibility import (
    BATCH_IS_FOR,
    PERSON,
    asking_for,
    batch_is_for,
    has_no_own_completion,
    item_is_free,
)
from app.labeling.models import (
    Assignment,
    AssignmentState,
    Batch,
    BatchState,
    Item,
    ItemCompletion,
)
from app.projects.models import Project
from app.projects.pauses import is_paused_in

# Enough to say "much is left" without counting a million rows for every page.
MOST_COUNTED = 100
_shuffler = random.SystemRandom()

# The item at hand was taken before the one that waits behind it (`lease_ahead`). Ordered by the column alone, SQLite
# would look for it through all that the person ever had.
_AT_HAND_FIRST = (func.coalesce(Assignment.created_at, Assignment.lease_until), Assignment.id)
BATCH_ORDER = (Batch.priority.desc(), Batch.created_at, Batch.id)
_LOCK_PERSON = select(Person.id).where(Person.id == PERSON).with_for_update(key_share=True)
_has_free_place = exists().where(Item.batch_id == Batch.id, Item.taken < Item.wanted)


def lease_next(session: Session, person: Person, project: Project) -> Assignment | None:
    """The labeler's running lease, else one they lost to time, else a new one; none when nothing is left for them, or
    their work here is paused."""
    lock_person(session, person)
    found = _look(session, person, project)
    if found.is_paused:
        return None
    running = _go_on(session, person, found.leased)
    if found.is_run_out and release_expired(session):
        found = _look(session, person, project)
    return running or _go_on(session, person, found.expired) or _new_lease(session, person, project)


def lease_ahead(session: Session, person: Person, project: Project) -> Assignment | None:
    """The item behind the one at hand, taken early so that its page is there when the labeler comes to it.

    At most one waits; none does while nothing is at hand, or when nothing is left.
    """
    lock_person(session, person)
    held = session.scalars(
        select(Assignment)
        .join(Item, Item.id == Assignment.item_id)
        .join(Batch, Batch.id == Item.batch_id)
        .where(Assignment.person_id == person.id, Assignment.state == AssignmentState.leased)
        .where(Batch.project_id == project.id, Batch.state == BatchState.open)
        .order_by(*_AT_HAND_FIRST)
        .limit(2)
    ).all()
    if len(held) == 1:
        return _new_lease(session, person, project)
    return held[1] if held else None


def lock_person(session: Session, person: Person) -> None:
    """One request of a person at a time, so that two tabs don't take two items. SQLite's writers take turns anyway."""
    if is_postgresql(session):
        session.connection().execute(_LOCK_PERSON, {"person_id": person.id})


def is_postgresql(session: Session) -> bool:
    return session.get_bind().dialect.name == "postgresql"


def lease_end() -> datetime:
    return now() + timedelta(minutes=get_settings().lease_minutes)


def _longest_lease() -> timedelta:
    """What ends later was begun under a clock that ran ahead; not what was begun before leases were set shorter."""
    return timedelta(days=1, minutes=get_settings().lease_minutes)


def release_expired(session: Session) -> int:
    """Give the places of leases that have run out back to their items. Returns how many."""
    has_run_out = has_come(Assignment.lease_until, at=now(), longest=_longest_lease())
    run_out = select(Assignment).where(Assignment.state == AssignmentState.leased, has_run_out)
    # Item by item in one order, so that two who release at once can't wait for each other.
    expired = session.scalars(run_out.order_by(Assignment.item_id).with_for_update(skip_locked=True)).all()
    for assignment in expired:
        assignment.state = AssignmentState.expired
        give_place_back(session, assignment)
    session.flush()
    return len(expired)


def give_place_back(session: Session, assignment: Assignment) -> None:
    session.connection().execute(update(Item).where(Item.id == assignment.item_id).values(taken=Item.taken - 1))


def extend(session: Session, assignment: Assignment) -> None:
    """The labeler is still there: a running lease goes on, a lost one comes back if its place is still free."""
    if assignment.state == AssignmentState.expired and _take_place_again(session, assignment):
        assignment.state = AssignmentState.leased
    if assignment.state == AssignmentState.leased:
        assignment.lease_until = lease_end()
    session.flush()


def _take_place_again(session: Session, assignment: Assignment) -> bool:
    still_free = update(Item).where(Item.id == assignment.item_id, Item.taken < Item.wanted)
    taken = still_free.values(taken=Item.taken + 1).returning(Item.id)
    return session.connection().execute(taken).scalar() is not None


def _latest(state: AssignmentState) -> Select[Any]:
    query = (
        select(Assignment.id)
        .join(Item, Item.id == Assignment.item_id)
        .join(Batch, Batch.id == Item.batch_id)
        .where(Assignment.person_id == PERSON, Assignment.state == constant(state))
        .where(Batch.project_id == bindparam("project_id"), Batch.state == constant(BatchState.open))
    )
    if state == AssignmentState.expired:
        lost = query.where(Item.taken < Item.wanted)
        return lost.order_by(Assignment.lease_until.desc(), Assignment.id).limit(constant(1))
    return query.order_by(*_AT_HAND_FIRST).limit(constant(1))


_IS_LEASED = Assignment.state == constant(AssignmentState.leased)
_LOOK = select(
    # A lease that has run out but was not yet taken away counts as running: the place is still the labeler's.
    _latest(AssignmentState.leased).scalar_subquery().label("leased"),
    # An item that the labeler began and lost to time, draft and all, if no one else has it now.
    _latest(AssignmentState.expired).scalar_subquery().label("expired"),
    or_(
        exists().where(_IS_LEASED, Assignment.lease_until < bindparam("now")),
        exists().where(_IS_LEASED, Assignment.lease_until > bindparam("too_far")),
    ).label("is_run_out"),
    is_paused_in(bindparam("project_id"), PERSON).label("is_paused"),
)


def _look(session: Session, person: Person, project: Project) -> Row[Any]:
    """What this labeler holds or has lost, and whether anyone's lease has run out."""
    asking = {**asking_for(person, project), "now": now(), "too_far": now() + _longest_lease()}
    return session.connection().execute(_LOOK, asking).one()


def _go_on(session: Session, person: Person, assignment_id: uuid.UUID | None) -> Assignment | None:
    """The assignment with its lease prolonged, if its place is still to be had."""
    if assignment_id is None:
        return None
    assignment = own_assignment(session, person, assignment_id, lock=True)
    extend(session, assignment)
    return assignment if assignment.state == AssignmentState.leased else None


def _new_lease(session: Session, person: Person, project: Project) -> Assignment | None:
    place = _take_place(session, person, project)
    if place is None:
        return None
    assignment = Assignment(
        item_id=place.id, person_id=person.id, lease_until=lease_end(), shown_order=_shuffled(place.completions)
    )
    session.add(assignment)
    session.flush()
    return assignment


def _take_place(session: Session, person: Person, project: Project) -> Row[Any] | None:
    """Take a free place of the first item that is for this person. Others' locked items are passed over at first, and
    waited for only when there is nothing else."""
    connection, asking = session.connection(), asking_for(person, project)
    batches = connection.execute(_BATCHES_WITH_PLACES, asking).scalars().all()
    avoided = preferences_of(person).avoided
    for skip_locked in (True, False) if is_postgresql(session) else (False,):
        take = _take(avoided, skip_locked=skip_locked)
        for batch_id in batches:
            place = connection.execute(take, {**asking, "in_batch": batch_id}).first()
            if place is not None:
                return place
    return None


# Built once for all who avoid the same, most of whom avoid nothing.
@lru_cache
def _take(avoided: frozenset[Content], *, skip_locked: bool) -> ReturningUpdate[Any]:
    free = (
        select(Item.id)
        .where(Item.batch_id == bindparam("in_batch"), item_is_free(avoided), has_no_own_completion())
        .order_by(Item.position)
        .limit(constant(1))
        .with_for_update(skip_locked=skip_locked, of=Item)
        .scalar_subquery()
    )
    taken = update(Item).where(Item.id == free, Item.taken < Item.wanted).values(taken=Item.taken + 1)
    return taken.returning(Item.id, _completions.label("completions"))


_completions = (
    select(func.aggregate_strings(cast(ItemCompletion.completion_id, String), " "))
    .where(ItemCompletion.item_id == Item.id)
    .correlate(Item)
    .scalar_subquery()
)
_BATCHES_WITH_PLACES = select(Batch.id).where(BATCH_IS_FOR, _has_free_place).order_by(*BATCH_ORDER)


def _shuffled(completions: str | None) -> list[str]:
    """The item's completions in an order of this labeler's own, so that no place on the page favours a model."""
    order = [str(uuid.UUID(each)) for each in (completions or "").split()]
    _shuffler.shuffle(order)
    return order


@lru_cache
def counting_left(avoided: frozenset[Content]) -> Select[int]:
    # Batch by batch in the order of the index: asked for any hundred, PostgreSQL reads whole tables to find the first.
    in_batch = (
        select(Item.id)
        .where(Item.batch_id == Batch.id, item_is_free(avoided))
        .order_by(Item.position)
        .limit(constant(MOST_COUNTED))
        .correlate(Batch)
        .subquery()
    )
    counted = select(func.count()).select_from(in_batch).scalar_subquery()
    return select(func.coalesce(func.sum(counted), 0)).where(BATCH_IS_FOR)


def count_left(session: Session, person: Person, project: Project) -> int:
    """How many items this person could still get, up to MOST_COUNTED. The few with a completion of their own count too:
    looking for those costs more than all the rest of the page."""
    counting = counting_left(preferences_of(person).avoided)
    left = session.connection().execute(counting, asking_for(person, project)).scalar_one()
    return min(int(left), MOST_COUNTED)


def places_held_by_others(session: Session, person: Person, project: Project) -> int:
    """Running leases of others on items this person never had: places that may become free."""
    mine = aliased(Assignment)
    query = (
        select(func.count())
        .select_from(Assignment)
        .join(Item, Item.id == Assignment.item_id)
        .join(Batch, Batch.id == Item.batch_id)
        .where(Assignment.state == AssignmentState.leased, Assignment.person_id != person.id)
        .where(batch_is_for(person, project))
        .where(~exists().where(mine.item_id == Item.id, mine.person_id == person.id))
    )
    return session.scalar(query) or 0
