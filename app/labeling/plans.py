"""What a new batch will hold: which items, in which order, and which of them serve to compare or to check labelers."""

import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from sqlalchemy import ColumnElement, and_, case, exists, func, literal_column, or_, select, update
from sqlalchemy.orm import Session

from app.accounts.models import Group, Person, PersonState, Role
from app.core.errors import Invalid
from app.labeling.models import (
    Assignment,
    AssignmentState,
    Batch,
    BatchKind,
    BatchState,
    Completion,
    Item,
    ItemCompletion,
    ItemPurpose,
)
from app.labeling.questions import flag_keys, sensitive_flags
from app.labeling.sorting import fix_use_cases
from app.projects.models import Project, ProjectMember, RatingSchema
from app.projects.pauses import is_paused_in
from app.prompts.models import Prompt, UseCase

_chooser = random.SystemRandom()  # nobody can tell from its place which item has a known answer
AT_ONCE = 1000
ANSWERED = (ItemPurpose.gold, ItemPurpose.training)
FOR_EVERYONE = (ItemPurpose.calibration, ItemPurpose.training)
# Written out, not as parameters: only so can the databases see that their partial index fits.
for_everyone = Item.purpose.in_([literal_column(f"'{each.value}'") for each in FOR_EVERYONE])
has_answer = Item.purpose.in_([literal_column(f"'{each.value}'") for each in ANSWERED])


class Rules(TypedDict, total=False):
    """Who labels a batch, how often, how soon and by which versions; what is left out is as usual."""

    name: str
    overlap: int
    group: Group | None
    priority: int
    guidelines_version: int | None
    schema_version: int | None
    calibration_share: float
    gold_share: float
    training_items: int


@dataclass(slots=True)
class Planned:
    """An item to be: what is ranked, or nothing where a demonstration is to be written."""

    prompt_id: uuid.UUID
    completions: list[uuid.UUID] = field(default_factory=list)
    purpose: ItemPurpose = ItemPurpose.ordinary
    gold: dict[str, Any] | None = None
    answered_under: uuid.UUID | None = None  # the version of the rating schema that the answer speaks of
    use_case: UseCase | None = None  # of a prompt with a known answer


def plan_items(completions_by_prompt: Mapping[uuid.UUID, Sequence[Completion]]) -> list[Planned]:
    return [Planned(prompt_id, [each.id for each in found]) for prompt_id, found in completions_by_prompt.items()]


def complete_plan(session: Session, project: Project, plan: list[Planned], rules: Rules) -> list[Planned]:
    """The plan with its calibration items marked, known answers spread among it and training items in front."""
    share, gold_share = rules.get("calibration_share", 0.0), rules.get("gold_share", 0.0)
    for each in _chooser.sample(plan, round(share * len(plan))):
        each.purpose = ItemPurpose.calibration
    golds = round(gold_share * len(plan) / (1 - gold_share)) if gold_share else 0
    first = rules.get("training_items", 0)
    if not golds + first:
        return plan
    answered = answered_items(session, project, besides={each.prompt_id for each in plan})
    if len(answered) < golds + first:
        raise Invalid(
            f"{golds + first} items with a known answer are wanted, and there are {len(answered)}.",
            mend="Give more answers on the pages of batches, or ask for fewer.",
            fields={"gold_percent" if golds else "training_items": f"{len(answered)} are there."},
        )
    chosen = _chooser.sample(answered, golds + first)
    for each, purpose in zip(chosen, [ItemPurpose.training] * first + [ItemPurpose.gold] * golds, strict=True):
        each.purpose = purpose
    for gold in chosen[first:]:
        plan.insert(_chooser.randint(0, len(plan)), gold)
    return chosen[:first] + plan


def answered_items(session: Session, project: Project, *, besides: set[uuid.UUID] | None = None) -> list[Planned]:
    """Items of the project whose answer is known, the newest of each prompt, ready to be asked again."""
    query = (
        select(Item, Batch.rating_schema_id, Prompt.use_case)
        .join(Batch, Batch.id == Item.batch_id)
        .join(Prompt, Prompt.id == Item.prompt_id)
        .where(Batch.project_id == project.id, has_answer, Prompt.is_retired.is_(False))
        .order_by(Item.created_at, Item.id)
    )
    rows = [row for row in session.execute(query) if row[0].prompt_id not in (besides or set())]
    newest = {item.prompt_id: item for item, *_ in rows}
    facts = {item.id: (schema_id, use_case) for item, schema_id, use_case in rows}
    shown: dict[uuid.UUID, list[uuid.UUID]] = {}
    places = select(ItemCompletion).where(ItemCompletion.item_id.in_([item.id for item in newest.values()]))
    for place in session.scalars(places.order_by(ItemCompletion.position)):
        shown.setdefault(place.item_id, []).append(place.completion_id)
    return [
        Planned(item.prompt_id, shown[item.id], item.purpose, item.gold, *facts[item.id])
        for item in newest.values()
        if item.id in shown and item.gold
    ]


def fit_answers(session: Session, batch: Batch, plan: Sequence[Planned]) -> None:
    """Make known answers that were given under another version of the rating schema fit: without the flags that this
    batch does not ask for, and without flags at all where it asks for a sensitive one that no lead has judged. What a
    version asks of an item goes by its prompt's use case."""
    flagged = [each for each in plan if each.gold and "flags" in each.gold]
    others = {each.answered_under for each in flagged} - {batch.rating_schema_id}
    if not others:
        return
    query = select(RatingSchema.id, RatingSchema.fields).where(RatingSchema.id.in_({*others, batch.rating_schema_id}))
    fields: dict[uuid.UUID | None, Any] = dict(session.execute(query).all())
    wanted = fields.get(batch.rating_schema_id, {})
    for each in flagged:
        answer = dict(each.gold or {})
        flags = answer.pop("flags")
        judged = fields.get(each.answered_under, {})
        if not sensitive_flags(wanted, each.use_case) - flag_keys(judged, each.use_case):
            kept = flag_keys(wanted, each.use_case)
            answer["flags"] = {of: [key for key in keys if key in kept] for of, keys in flags.items()}
        each.gold = answer


def count_answered(session: Session, project: Project) -> int:
    """How many items `answered_items` has."""
    query = (
        select(func.count(Item.prompt_id.distinct()))
        .join(Batch, Batch.id == Item.batch_id)
        .join(Prompt, Prompt.id == Item.prompt_id)
        .where(Batch.project_id == project.id, has_answer, Prompt.is_retired.is_(False))
        .where(exists().where(ItemCompletion.item_id == Item.id))
    )
    return session.scalar(query) or 0


def add_items(session: Session, batch: Batch, plan: Sequence[Planned]) -> None:
    """Write the plan down. Calibration and training items, and all of a screening, are wanted of everyone."""
    everyone = max(batch.overlap, count_labelers_for(session, batch))
    items = []
    for position, each in enumerate(plan):
        of_everyone = each.purpose in FOR_EVERYONE or batch.kind == BatchKind.screening
        item = Item(id=uuid.uuid4(), batch_id=batch.id, prompt_id=each.prompt_id, position=position,
                    wanted=everyone if of_everyone else batch.overlap, purpose=each.purpose)  # fmt: skip
        if each.gold is not None:
            item.gold = each.gold
        items.append(item)
    session.add_all(items)
    session.flush()
    fix_use_cases(session, batch)
    session.add_all(
        ItemCompletion(item_id=item.id, completion_id=completion_id, position=place)
        for item, each in zip(items, plan, strict=True)
        for place, completion_id in enumerate(each.completions)
    )
    session.flush()


def _may_get(batch: Batch) -> ColumnElement[bool]:
    """The labelers whose desk this batch reaches (`leases.batch_is_for` says the same of one person)."""
    is_screening = batch.kind == BatchKind.screening
    state = PersonState.screening if is_screening else PersonState.active
    conditions = [
        Person.role == Role.labeler,
        Person.state == state,
        exists().where(ProjectMember.project_id == batch.project_id, ProjectMember.person_id == Person.id),
        ~is_paused_in(batch.project_id, Person.id),
    ]
    if batch.group is not None:
        conditions.append(Person.group == batch.group)
    elif batch.kind not in (BatchKind.evaluation, BatchKind.screening):
        conditions.append(Person.group == Group.training)
    return and_(*conditions)


def count_labelers_for(session: Session, batch: Batch) -> int:
    return session.scalar(select(func.count()).select_from(Person).where(_may_get(batch))) or 0


def follow_labelers(session: Session) -> int:
    """Keep what is wanted of everyone at the labelers there are now: people come and go while a batch is open.
    Returns how many items changed."""
    has_such = exists().where(Item.batch_id == Batch.id, for_everyone)
    query = select(Batch).where(Batch.state == BatchState.open, or_(Batch.kind == BatchKind.screening, has_such))
    return sum(_follow(session, batch) for batch in session.scalars(query.order_by(Batch.id)).all())


def _follow(session: Session, batch: Batch) -> int:
    # A place that is taken stays, whoever took it; whoever is here and neither has it nor had it needs one more.
    had = (
        select(func.count())
        .select_from(Assignment)
        .join(Person, Person.id == Assignment.person_id)
        .where(Assignment.item_id == Item.id, Assignment.state != AssignmentState.expired, _may_get(batch))
        .scalar_subquery()
    )
    everyone = Item.taken + count_labelers_for(session, batch) - had
    needed = case((everyone > batch.overlap, everyone), else_=batch.overlap)
    others = select(Item.id).where(Item.batch_id == batch.id, Item.wanted != needed)
    if batch.kind != BatchKind.screening:
        others = others.where(for_everyone)
    # What a labeler takes just now is left to the next sweep: nobody waits for anybody here.
    ids = session.scalars(others.order_by(Item.id).limit(AT_ONCE).with_for_update(skip_locked=True)).all()
    session.execute(update(Item).where(Item.id.in_(ids)).values(wanted=needed))
    return len(ids)
