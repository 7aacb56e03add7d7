"""Which item a labeler gets next, and for how long. One statement takes a place: no two people hold the same."""

import random
import uuid
from datetime import UTC, datetime, time, timedelta
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Integer,
    Row,
    Select,
    String,
    and_,
    bindparam,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.dml import ReturningUpdate

from app.accounts.models import Group, Person, PersonState
from app.accounts.preferences import Content, preferences_of
from app.core.clock import now
from app.core.config import get_settings
from app.labeling.bench import own_assignment
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
from app.projects.settings import settings_of
from app.prompts.models import Prompt

# Enough to say "much is left" without counting a million rows for every page.
MOST_COUNTED = 100
_shuffler = random.SystemRandom()

# Every labeler asks for all of this with every item, so the statements are built once, with names for what changes.
BATCH_ORDER = (Batch.priority.desc(), Batch.created_at, Batch.id)
_PERSON = bindparam("person_id", type_=Item.id.type)
_LOCK_PERSON = select(Person.id).where(Person.id == _PERSON).with_for_update(key_share=True)
_has_free_place = exists().where(Item.batch_id == Batch.id, Item.taken < Item.wanted)


def _for(
    project_id: Any = bindparam("project_id", type_=Batch.id.type),
    group: Any = bindparam("group", type_=Batch.group.type),
    is_training: Any = bindparam("is_training", type_=Boolean()),
    is_screened: Any = bindparam("is_screened", type_=Boolean()),
) -> ColumnElement[bool]:
    # Unless a batch says so itself, held-out labelers get nothing that models are trained on.
    not_trained_on = Batch.kind.in_([BatchKind.evaluation, BatchKind.screening])
    for_group = or_(Batch.group == group, and_(Batch.group.is_(None), or_(is_training, not_trained_on)))
    for_state = (Batch.kind == BatchKind.screening) == is_screened
    return and_(Batch.project_id == project_id, Batch.state == BatchState.open, for_group, for_state)


_BATCH_IS_FOR = _for()


def _asking(person: Person, project: Project) -> dict[str, Any]:
    """Who asks: what the statements below want to know."""
    is_screened = person.state == PersonState.screening
    is_training = person.group == Group.training
    wanted = {"group": person.group, "is_training": is_training, "is_screened": is_screened}
    avoided = preferences_of(person).avoided
    bearable: dict[str, Any] = {f"avoids_{content.value}": content in avoided for content in Content}
    bearable |= {"disturbing_per_day": settings_of(project).disturbing_per_day, "today": _midnight()}
    return {"person_id": person.id, "project_id": project.id, **wanted, **bearable}


def _midnight() -> datetime:
    return datetime.combine(now().date(), time(), UTC)


def batch_is_for(person: Person, project: Project) -> ColumnElement[bool]:
    """Open batches of the project that are for this person's group and state."""
    is_screened = literal(person.state == PersonState.screening)
    return _for(project.id, person.group, literal(person.group == Group.training), is_screened)


def lease_next(session: Session, person: Person, project: Project) -> Assignment | None:
    """The labeler's running lease, else one they lost to time, else a new one; none when nothing is left for them."""
    lock_person(session, person)
    found = _look(session, person, project)
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
        .order_by(Assignment.created_at, Assignment.id)
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
        .where(Assignment.person_id == _PERSON, Assignment.state == state)
        .where(Batch.project_id == bindparam("project_id"), Batch.state == BatchState.open)
    )
    if state == AssignmentState.expired:
        lost = query.where(Item.taken < Item.wanted)
        return lost.order_by(Assignment.lease_until.desc(), Assignment.id).limit(1)
    # The item at hand was taken before the one that waits behind it (`lease_ahead`).
    return query.order_by(Assignment.created_at, Assignment.id).limit(1)


_LOOK = select(
    # A lease that has run out but was not yet taken away counts as running: the place is still the labeler's.
    _latest(AssignmentState.leased).scalar_subquery().label("leased"),
    # An item that the labeler began and lost to time, draft and all, if no one else has it now.
    _latest(AssignmentState.expired).scalar_subquery().label("expired"),
    exists()
    .where(Assignment.state == AssignmentState.leased, Assignment.lease_until < bindparam("now"))
    .label("is_run_out"),
)


def _look(session: Session, person: Person, project: Project) -> Row[Any]:
    """What this labeler holds or has lost, and whether anyone's lease has run out."""
    return session.connection().execute(_LOOK, {**_asking(person, project), "now": now()}).one()


def _go_on(session: Session, person: Person, assignment_id: uuid.UUID | None) -> Assignment | None:
    """The assignment with its lease prolonged, if its place is still to be had."""
    if assignment_id is None:
        return None
    assignment = own_assignment(session, person, assignment_id, lock=True)
    extend(session, assignment)
    return assignment if assignment.state == AssignmentState.leased else None


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
    connection, asking = session.connection(), _asking(person, project)
    batches = connection.execute(_BATCHES_WITH_PLACES, asking).scalars().all()
    for take in (_TAKE_UNLOCKED, _TAKE) if is_postgresql(session) else (_TAKE,):
        for batch_id in batches:
            item_id: uuid.UUID | None = connection.execute(take, {**asking, "in_batch": batch_id}).scalar()
            if item_id is not None:
                return item_id
    return None


def _item_is_free() -> ColumnElement[bool]:
    """Items with a free place that this person did not have before."""
    had = exists().where(Assignment.item_id == Item.id, Assignment.person_id == _PERSON)
    not_for_them = exists().where(Prompt.id == Item.prompt_id, or_(Prompt.is_retired, _is_too_much()))
    return and_(Item.taken < Item.wanted, ~had, ~not_for_them)


def _is_too_much() -> ColumnElement[bool]:
    """Prompts marked with what this person avoids; any marked one, when they have had as many today as the cap lets."""
    marks = cast(Prompt.flags, String)
    avoided = [
        and_(bindparam(f"avoids_{content.value}", type_=Boolean()), marks.contains(f'"{content.value}"'))
        for content in Content
    ]
    met, met_in, met_item = aliased(Assignment), aliased(Prompt), aliased(Item)
    met_today = (
        select(func.count())
        .select_from(met)
        .join(met_item, met_item.id == met.item_id)
        .join(met_in, met_in.id == met_item.prompt_id)
        .where(met.person_id == _PERSON, met.created_at >= bindparam("today"), cast(met_in.flags, String) != "[]")
        .scalar_subquery()
    )
    cap = bindparam("disturbing_per_day", type_=Integer())
    return and_(marks != "[]", or_(*avoided, and_(cap > 0, met_today >= cap)))


def _has_no_own_completion() -> ColumnElement[bool]:
    """Items of whose completions this person wrote none."""
    own = exists().where(
        ItemCompletion.item_id == Item.id,
        Completion.id == ItemCompletion.completion_id,
        Completion.person_id == _PERSON,
    )
    return ~own


def _take(*, skip_locked: bool) -> ReturningUpdate[Any]:
    free = (
        select(Item.id)
        .where(Item.batch_id == bindparam("in_batch"), _item_is_free(), _has_no_own_completion())
        .order_by(Item.position)
        .limit(1)
        .with_for_update(skip_locked=skip_locked, of=Item)
        .scalar_subquery()
    )
    taken = update(Item).where(Item.id == free, Item.taken < Item.wanted).values(taken=Item.taken + 1)
    return taken.returning(Item.id)


_BATCHES_WITH_PLACES = select(Batch.id).where(_BATCH_IS_FOR, _has_free_place).order_by(*BATCH_ORDER)
_TAKE, _TAKE_UNLOCKED = _take(skip_locked=False), _take(skip_locked=True)
_IN_ORDER = (
    select(ItemCompletion.completion_id)
    .where(ItemCompletion.item_id == bindparam("item_id"))
    .order_by(ItemCompletion.position)
)


def _shuffled(session: Session, item_id: uuid.UUID) -> list[str]:
    """The item's completions in an order of this labeler's own, so that no place on the page favours a model."""
    order = [str(each) for each in session.connection().execute(_IN_ORDER, {"item_id": item_id}).scalars()]
    _shuffler.shuffle(order)
    return order


_COUNT_LEFT = select(func.count()).select_from(
    select(Item.id)
    .join(Batch, Batch.id == Item.batch_id)
    .where(_BATCH_IS_FOR, _item_is_free())
    .limit(MOST_COUNTED)
    .subquery()
)


def count_left(session: Session, person: Person, project: Project) -> int:
    """How many items this person could still get, up to MOST_COUNTED. The few with a completion of their own count too:
    looking for those costs more than all the rest of the page."""
    return session.connection().execute(_COUNT_LEFT, _asking(person, project)).scalar_one()


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
