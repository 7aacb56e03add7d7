"""Who may get which item, as conditions on batches and items.

Every labeler asks for all of this with every item, so the conditions are built once, with names for what changes;
`asking_for` gives the values.
"""

from datetime import UTC, datetime, time
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    cast,
    func,
    literal,
    literal_column,
    or_,
    select,
)
from sqlalchemy.orm import aliased

from app.accounts.models import Group, Person, PersonState
from app.accounts.preferences import Content
from app.core.clock import now
from app.core.db import constant
from app.labeling.models import Assignment, Batch, BatchKind, BatchState, Completion, Item, ItemCompletion
from app.projects.models import Project
from app.projects.pauses import is_paused_in
from app.projects.settings import settings_of
from app.prompts.models import Prompt

PERSON = bindparam("person_id", type_=Item.id.type)


def _for(
    project_id: Any = bindparam("project_id", type_=Batch.id.type),
    group: Any = bindparam("group", type_=Batch.group.type),
    is_training: Any = bindparam("is_training", type_=Boolean()),
    is_screened: Any = bindparam("is_screened", type_=Boolean()),
    person_id: Any = PERSON,
) -> ColumnElement[bool]:
    # Unless a batch says so itself, held-out labelers get nothing that models are trained on.
    is_screening = Batch.kind == constant(BatchKind.screening)
    not_trained_on = or_(Batch.kind == constant(BatchKind.evaluation), is_screening)
    for_group = or_(Batch.group == group, and_(Batch.group.is_(None), or_(is_training, not_trained_on)))
    for_state = is_screening == is_screened
    is_open = and_(Batch.project_id == project_id, Batch.state == constant(BatchState.open))
    return and_(is_open, for_group, for_state, ~is_paused_in(project_id, person_id))


BATCH_IS_FOR = _for()


def asking_for(person: Person, project: Project) -> dict[str, Any]:
    """Who asks: what the statements below want to know."""
    is_screened = person.state == PersonState.screening
    is_training = person.group == Group.training
    wanted = {"group": person.group, "is_training": is_training, "is_screened": is_screened}
    cap = {"disturbing_per_day": settings_of(project).disturbing_per_day, "today": _midnight()}
    return {"person_id": person.id, "project_id": project.id, **wanted, **cap}


def _midnight() -> datetime:
    return datetime.combine(now().date(), time(), UTC)


def batch_is_for(person: Person, project: Project) -> ColumnElement[bool]:
    """Open batches of the project that are for this person's group and state."""
    is_screened = literal(person.state == PersonState.screening)
    return _for(project.id, person.group, literal(person.group == Group.training), is_screened, person.id)


def item_is_free(avoided: frozenset[Content]) -> ColumnElement[bool]:
    """Items with a free place that this person did not have before, of prompts without what they avoid."""
    had = select(Assignment.id).where(Assignment.item_id == Item.id, Assignment.person_id == PERSON)
    not_for_them = select(Prompt.id).where(Prompt.id == Item.prompt_id, or_(Prompt.is_retired, _is_too_much(avoided)))
    return and_(Item.taken < Item.wanted, _there_is_no(had), _there_is_no(not_for_them))


def _there_is_no(query: Select[Any]) -> ColumnElement[bool]:
    """`NOT EXISTS`, looked up item by item. Without OFFSET 0 PostgreSQL makes a join of it, and where its statistics
    are behind, as they are while a batch is new, it goes through all that a person ever did for each item."""
    return ~query.correlate(Item).offset(literal_column("0")).exists()


def _is_too_much(avoided: frozenset[Content]) -> ColumnElement[bool]:
    """Prompts marked with what this person avoids; any marked one, when they have had as many today as the cap lets."""
    marks = cast(Prompt.flags, String)
    has_avoided = [marks.contains(f'"{content.value}"') for content in sorted(avoided)]
    met, met_in, met_item = aliased(Assignment), aliased(Prompt), aliased(Item)
    met_today = (
        select(func.count())
        .select_from(met)
        .join(met_item, met_item.id == met.item_id)
        .join(met_in, met_in.id == met_item.prompt_id)
        .where(met.person_id == PERSON, met.created_at >= bindparam("today"), cast(met_in.flags, String) != "[]")
        .scalar_subquery()
    )
    cap = bindparam("disturbing_per_day", type_=Integer())
    return and_(marks != "[]", or_(*has_avoided, and_(cap > 0, met_today >= cap)))


def has_no_own_completion() -> ColumnElement[bool]:
    """Items of whose completions this person wrote none."""
    own = select(Completion.id).where(
        ItemCompletion.item_id == Item.id,
        Completion.id == ItemCompletion.completion_id,
        Completion.person_id == PERSON,
    )
    return _there_is_no(own)
