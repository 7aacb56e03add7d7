"""What can be asked for in a new batch: prompts without a demonstration, a run's completions, texts to grade."""

import uuid
from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.orm import Session

from app.labeling.current import is_current
from app.labeling.models import (
    Assignment,
    AssignmentState,
    Batch,
    BatchKind,
    BatchState,
    Completion,
    Demonstration,
    Item,
)
from app.projects.models import Project
from app.prompts.models import Prompt, Split
from app.prompts.service import PromptFilter, conditions_of

ALL = PromptFilter()


def prompts_of(session: Session, project: Project, wanted: PromptFilter, *, limit: int) -> list[Prompt]:
    query = select(Prompt).where(*conditions_of(project, wanted))
    return list(session.scalars(query.order_by(Prompt.created_at, Prompt.id).limit(limit)))


def prompts_without_demonstration(
    session: Session, project: Project, wanted: PromptFilter = ALL, *, limit: int | None = None
) -> list[Prompt]:
    """Prompts that no one has written for yet, nor has been asked to in a batch that is not closed; oldest first."""
    query = select(Prompt).where(_lacks_demonstration(project), *conditions_of(project, wanted))
    return list(session.scalars(query.order_by(Prompt.created_at, Prompt.id).limit(limit)))


def _lacks_demonstration(project: Project) -> ColumnElement[bool]:
    asked = exists().where(
        Item.prompt_id == Prompt.id,
        Batch.id == Item.batch_id,
        Batch.kind == BatchKind.demonstration,
        Batch.state != BatchState.closed,
    )
    written = exists().where(Demonstration.prompt_id == Prompt.id)
    return and_(Prompt.project_id == project.id, ~Prompt.is_retired, ~written, ~asked)


def count_without_demonstration(session: Session, project: Project) -> dict[Split, int]:
    query = select(Prompt.split, func.count()).where(_lacks_demonstration(project)).group_by(Prompt.split)
    return {split: count for split, count in session.execute(query)}  # noqa: C416  rows, not pairs, to mypy


def completions_of_run(
    session: Session,
    project: Project,
    run_id: uuid.UUID,
    wanted: PromptFilter = ALL,
    *,
    most: int | None = None,
    limit: int | None = None,
) -> dict[uuid.UUID, list[Completion]]:
    """What a sampling run wrote, by prompt, oldest prompt first: at most so many of each prompt, the lowest numbers
    first, and only of prompts with two or more."""
    query = (
        select(Completion)
        .join(Prompt, Prompt.id == Completion.prompt_id)
        .where(Completion.run_id == run_id, *conditions_of(project, wanted))
        .order_by(Prompt.created_at, Prompt.id, Completion.number, Completion.id)
    )
    by_prompt: dict[uuid.UUID, list[Completion]] = {}
    for completion in session.scalars(query):
        by_prompt.setdefault(completion.prompt_id, []).append(completion)
    several = [(prompt_id, found[:most]) for prompt_id, found in by_prompt.items() if len(found) > 1]
    return dict(several[:limit])


def demonstrations_to_grade(
    session: Session, project: Project, wanted: PromptFilter = ALL, *, limit: int | None = None
) -> Sequence[Demonstration]:
    """Labelers' demonstrations that no batch has asked a grade for, oldest first, one of each prompt."""
    first = (
        select(func.min(Demonstration.created_at), Demonstration.prompt_id)
        .where(_awaits_grade())
        .group_by(Demonstration.prompt_id)
        .subquery()
    )
    query = (
        select(Demonstration)
        .join(Prompt, Prompt.id == Demonstration.prompt_id)
        .join(first, and_(*(mine == least for mine, least in zip(_AGE, first.columns, strict=True))))
        .where(_awaits_grade(), *conditions_of(project, wanted))
        .order_by(Demonstration.created_at, Demonstration.id)
        .limit(limit)
    )
    return list({each.prompt_id: each for each in session.scalars(query)}.values())


_AGE = (Demonstration.created_at, Demonstration.prompt_id)


def _awaits_grade() -> ColumnElement[bool]:
    asked = exists().where(
        Completion.prompt_id == Demonstration.prompt_id,
        Completion.person_id == Demonstration.person_id,
        Completion.text == Demonstration.text,
    )
    at_the_desk = exists().where(
        Assignment.id == Demonstration.assignment_id,
        Assignment.state == AssignmentState.submitted,
        Item.id == Assignment.item_id,
        Batch.id == Item.batch_id,
        Batch.kind == BatchKind.demonstration,
    )
    return and_(is_current(Demonstration), at_the_desk, ~asked)


def count_to_grade(session: Session, project: Project) -> int:
    query = select(func.count(Demonstration.prompt_id.distinct())).join(Prompt, Prompt.id == Demonstration.prompt_id)
    return session.scalar(query.where(_awaits_grade(), *conditions_of(project, ALL))) or 0
