"""Judged items for the quality room's tests, made straight in the tables."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.core.clock import now
from app.labeling.models import (
    Assignment,
    AssignmentState,
    Batch,
    BatchKind,
    Item,
    ItemCompletion,
    ItemPurpose,
    Ranking,
    RankingPlace,
    Rating,
)
from app.projects import service as projects
from app.projects.models import Project
from app.prompts.models import UseCase
from tests.factories import make_completion, make_model, make_prompt


def make_batch(session: Session, project: Project, *, kind: BatchKind = BatchKind.ranking, name: str = "A") -> Batch:
    schema = projects.newest_rating_schema(session, project)
    assert schema is not None
    round_id = projects.current_round(session, project).id
    batch = Batch(project_id=project.id, name=name, kind=kind, rating_schema_id=schema.id, round_id=round_id)
    session.add(batch)
    session.flush()
    return batch


def make_item(
    session: Session,
    project: Project,
    batch: Batch,
    *,
    completions: int = 3,
    gold: Sequence[int] | None = None,
    purpose: ItemPurpose | None = None,
    use_case: UseCase = UseCase.generation,
    written_by: Person | None = None,
) -> Item:
    """An item with fresh completions; `gold` gives their known ranks."""
    prompt = make_prompt(session, project, use_case=use_case)
    model = make_model(session, project)
    item = Item(batch_id=batch.id, prompt_id=prompt.id, position=0, purpose=purpose or ItemPurpose.ordinary)
    session.add(item)
    session.flush()
    made = [make_completion(session, prompt, model=model, person=written_by) for _ in range(completions)]
    for place, completion in enumerate(made):
        session.add(ItemCompletion(item_id=item.id, completion_id=completion.id, position=place))
    if gold:
        item.purpose = purpose or ItemPurpose.gold
        item.gold = {"ranks": {str(each.id): rank for each, rank in zip(made, gold, strict=True)}}
    session.flush()
    return item


def completions_of(session: Session, item: Item) -> list[uuid.UUID]:
    query = select(ItemCompletion.completion_id).where(ItemCompletion.item_id == item.id)
    return list(session.scalars(query.order_by(ItemCompletion.position)))


def rank(
    session: Session,
    item: Item,
    person: Person,
    ranks: Sequence[int],
    *,
    made: datetime | None = None,
    seconds: int = 60,
    shown: Sequence[int] | None = None,
    likert: Sequence[Mapping[str, Any]] = (),
    supersedes: Ranking | None = None,
    **facts: Any,
) -> Ranking:
    """The person's submitted ranking of an item, ranks in the order of its completions, `shown` by their numbers."""
    made = made or now()
    completions = completions_of(session, item)
    assignment = session.scalar(
        select(Assignment).where(Assignment.item_id == item.id, Assignment.person_id == person.id)
    )
    if assignment is None:
        shown_order = [str(completions[number]) for number in shown or range(len(completions))]
        assignment = Assignment(
            item_id=item.id, person_id=person.id, lease_until=made, state=AssignmentState.submitted,
            submitted_at=made, active_seconds=seconds, shown_order=shown_order, group=person.group,
        )  # fmt: skip
        session.add(assignment)
        item.got, item.taken = item.got + 1, item.taken + 1
        session.flush()
    ranking = Ranking(
        assignment_id=assignment.id, item_id=item.id, person_id=person.id, created_at=made,
        supersedes_id=supersedes.id if supersedes else None, **facts,
    )  # fmt: skip
    session.add(ranking)
    session.flush()
    batch = session.get_one(Batch, item.batch_id)
    for number, place in enumerate(ranks):
        session.add(RankingPlace(ranking_id=ranking.id, completion_id=completions[number], rank=place))
    for number, answers in enumerate(likert):
        session.add(
            Rating(ranking_id=ranking.id, completion_id=completions[number],
                   rating_schema_id=batch.rating_schema_id, likert=dict(answers))
        )  # fmt: skip
    session.flush()
    return ranking
