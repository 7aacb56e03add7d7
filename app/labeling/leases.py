"""Which item a labeler gets next, and for how long. One statement takes a place: no two people hold the same."""

import random
import uuid
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, func, literal, or_, select, update
from sqlalchemy.orm import Session

from app.accounts.models import Group, Person, PersonState
from app.core.clock import now
from app.core.config import get_settings
from app.labeling.models import (
    Assignment,
    AssignmentState,
    Batch,
    BatchKind,
    BatchState,
    Completion,
    Item,
    ItemCompletion,
)
from app.projects.models import Project
from app.prompts.models import Prompt

# Enough to say "much is left" without counting a million rows for every page.
MOST_COUNTED = 100
_shuffler = random.SystemRandom()


def lease_next(session: Session, person: Person, project: Project) -> Assignment | None:
    """The labeler's running lease, else one they lost to time, else a new one; none when nothing is left for them."""
    lock_person(session, person)
    running = _running_lease(session, person, project)
    release_expired(session)
    return running or _regained_lease(session, person, project) or _new_lease(session, person, project)


def lock_person(session: Session, person: Person) -> None:
    """One request of a person at a time, so that two tabs don't take two items (SQLite's writers take turns anyway)."""
    session.execute(select(Person.id).where(Person.id == person.id).with_for_update(key_share=True))


def lease_end() -> datetime:
    return now() + timedelta(minutes=get_settings().lease_minutes)


def release_expired(session: Session) -> int:
    """Give the places of leases that have run out back to their items. Returns how many."""
    run_out = select(Assignment).where(Assignment.state == AssignmentState.leased, Assignment.lease_until < now())
    # Item by item in one order, so that two who release at once can't wait for each other.
    expired = session.scalars(run_out.order_by(Assignment.item_id).with_for_update(skip_locked=True)).all()
    for assignment in expired:
        assignment.state = AssignmentState.expired
        give_place_back(session, assignment)
    session.flush()
    return len(expired)


def give_place_back(session: Session, assignment: Assignment) -> None:
    session.execute(update(Item).where(Item.id == assignment.item_id).values(taken=Item.taken - 1))


def extend(session: Session, assignment: Assignment) -> None:
    """The labeler is still there: a running lease goes on, a lost one comes back if its place is still free."""
    if assignment.state == AssignmentState.expired and _take_place_again(session, assignment):
        assignment.state = AssignmentState.leased
    if assignment.state == AssignmentState.leased:
        assignment.lease_until = lease_end()
    session.flush()


def _take_place_again(session: Session, assignment: Assignment) -> bool:
    still_free = update(Item).where(Item.id == assignment.item_id, Item.taken < Item.wanted)
    return session.scalar(still_free.values(taken=Item.taken + 1).returning(Item.id)) is not None


def _running_lease(session: Session, person: Person, project: Project) -> Assignment | None:
    """A lease that has run out but was not yet taken away counts as running: the place is still the labeler's."""
    assignment = _latest(session, person, project, AssignmentState.leased)
    if assignment is not None:
        extend(session, assignment)
    return assignment


def _regained_lease(session: Session, person: Person, project: Project) -> Assignment | None:
    """An item that the labeler began and lost to time, draft and all, if no one else has it now."""
    assignment = _latest(session, person, project, AssignmentState.expired)
    if assignment is None:
        return None
    extend(session, assignment)
    return assignment if assignment.state == AssignmentState.leased else None


def _latest(session: Session, person: Person, project: Project, state: AssignmentState) -> Assignment | None:
    query = (
        select(Assignment)
        .join(Item, Item.id == Assignment.item_id)
        .join(Batch, Batch.id == Item.batch_id)
        .where(Assignment.person_id == person.id, Assignment.state == state)
        .where(Batch.project_id == project.id, Batch.state == BatchState.open)
    )
    if state == AssignmentState.expired:
        query = query.where(Item.taken < Item.wanted)
    latest = query.order_by(Assignment.lease_until.desc(), Assignment.id).limit(1)
    return session.scalar(latest.with_for_update(of=Assignment))


def _new_lease(session: Session, person: Person, project: Project) -> Assignment | None:
    item_id = _take_place(session, person, project)
    if item_id is None:
        return None
    assignment = Assignment(
        item_id=item_id, person_id=person.id, lease_until=lease_end(), shown_order=_shuffled(session, item_id)
    )
    session.add(assignment)
    session.flush()
    return assignment


def _take_place(session: Session, person: Person, project: Project) -> uuid.UUID | None:
    """Take a free place of the first item that is for this person. Others' locked items are passed over at first, and
    waited for only when there is nothing else."""
    batches = session.scalars(
        select(Batch.id).where(batch_is_for(person, project), _has_free_place).order_by(*BATCH_ORDER)
    ).all()
    is_postgresql = session.get_bind().dialect.name == "postgresql"
    for skip_locked in (True, False) if is_postgresql else (False,):
        for batch_id in batches:
            free = (
                select(Item.id)
                .where(Item.batch_id == batch_id, item_is_free_for(person), has_no_completion_of(person))
                .order_by(Item.position)
                .limit(1)
                .with_for_update(skip_locked=skip_locked, of=Item)
                .scalar_subquery()
            )
            take = update(Item).where(Item.id == free, Item.taken < Item.wanted).values(taken=Item.taken + 1)
            item_id: uuid.UUID | None = session.scalar(take.returning(Item.id))
            if item_id is not None:
                return item_id
    return None


BATCH_ORDER = (Batch.priority.desc(), Batch.created_at, Batch.id)
_has_free_place = exists().where(Item.batch_id == Batch.id, Item.taken < Item.wanted)


def batch_is_for(person: Person, project: Project) -> ColumnElement[bool]:
    """Open batches of the project that are for this person's group and state."""
    # Unless a batch says so itself, held-out labelers get nothing that models are trained on.
    not_trained_on = Batch.kind.in_([BatchKind.evaluation, BatchKind.screening])
    for_group = or_(
        Batch.group == person.group,
        and_(Batch.group.is_(None), or_(literal(person.group == Group.training), not_trained_on)),
    )
    is_screening = Batch.kind == BatchKind.screening
    for_state = is_screening if person.state == PersonState.screening else ~is_screening
    return and_(Batch.project_id == project.id, Batch.state == BatchState.open, for_group, for_state)


def item_is_free_for(person: Person) -> ColumnElement[bool]:
    """Items with a free place that this person did not have before."""
    had = exists().where(Assignment.item_id == Item.id, Assignment.person_id == person.id)
    is_retired = exists().where(Prompt.id == Item.prompt_id, Prompt.is_retired)
    return and_(Item.taken < Item.wanted, ~had, ~is_retired)


def has_no_completion_of(person: Person) -> ColumnElement[bool]:
    """Items of whose completions this person wrote none."""
    own = exists().where(
        ItemCompletion.item_id == Item.id,
        Completion.id == ItemCompletion.completion_id,
        Completion.person_id == person.id,
    )
    return ~own


def _shuffled(session: Session, item_id: uuid.UUID) -> list[str]:
    """The item's completions in an order of this labeler's own, so that no place on the page favours a model."""
    query = select(ItemCompletion.completion_id).where(ItemCompletion.item_id == item_id)
    order = [str(each) for each in session.scalars(query.order_by(ItemCompletion.position))]
    _shuffler.shuffle(order)
    return order


def count_left(session: Session, person: Person, project: Project) -> int:
    """How many items this person could still get, up to MOST_COUNTED. The few with a completion of their own count too:
    looking for those costs more than all the rest of the page."""
    left = (
        select(Item.id)
        .join(Batch, Batch.id == Item.batch_id)
        .where(batch_is_for(person, project), item_is_free_for(person))
        .limit(MOST_COUNTED)
    )
    return session.scalar(select(func.count()).select_from(left.subquery())) or 0


def places_held_by_others(session: Session, person: Person, project: Project) -> int:
    """Running leases of others on items this person never had: places that may become free."""
    had = select(Assignment.item_id).where(Assignment.person_id == person.id)
    query = (
        select(func.count())
        .select_from(Assignment)
        .join(Item, Item.id == Assignment.item_id)
        .join(Batch, Batch.id == Item.batch_id)
        .where(Assignment.state == AssignmentState.leased, Assignment.person_id != person.id)
        .where(batch_is_for(person, project), Item.id.not_in(had))
    )
    return session.scalar(query) or 0
