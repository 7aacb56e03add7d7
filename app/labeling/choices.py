"""What can be asked for in a new batch: prompts without a demonstration, completions of a run, or of chosen models side
by side, texts to grade."""

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, case, exists, func, select
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
from app.prompts.service import PromptFilter, conditions_of, count_by_split
from app.registry.models import Model

ALL = PromptFilter()
_ASKS_FOR_DEMONSTRATIONS = (Batch.kind == BatchKind.demonstration, Batch.state != BatchState.closed)


NAMED_BY = 5000  # completions of a model


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
    asked = exists().where(Item.prompt_id == Prompt.id, Batch.id == Item.batch_id, *_ASKS_FOR_DEMONSTRATIONS)
    written = exists().where(Demonstration.prompt_id == Prompt.id)
    return and_(Prompt.project_id == project.id, ~Prompt.is_retired, ~written, ~asked)


def count_without_demonstration(session: Session, project: Project) -> dict[Split, int]:
    """All prompts less those that were written for or asked for: often few, and all are counted from an index."""
    asked = (
        select(Item.prompt_id)
        .join(Batch, Batch.id == Item.batch_id)
        .where(Batch.project_id == project.id, *_ASKS_FOR_DEMONSTRATIONS)
    )
    has_any = Prompt.id.in_(select(Demonstration.prompt_id).union(asked))
    query = select(Prompt.split, func.count()).where(*conditions_of(project, ALL), has_any).group_by(Prompt.split)
    taken = Counter({split.value: count for split, count in session.execute(query)})
    left = {Split(split): count - taken[split] for split, count in count_by_split(session, project).items()}
    return {split: count for split, count in left.items() if count}


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


def best_of() -> ColumnElement[int]:
    """Of how many a completion is the best, in a query over Completion; what nobody chose from is the best of 1."""
    return func.coalesce(Completion.settings["best_of"].as_integer(), 1)


def prefix_of() -> ColumnElement[str]:
    """The name of the prefix that a completion was written after, in a query over Completion; empty: of none."""
    return func.coalesce(Completion.settings["prefix"].as_string(), "")


def prompted(model: str, prefix: str = "") -> str:
    """A model with a prefix before its prompts is another one, and called so wherever it is named."""
    return f"{model}, prompted ({prefix})" if prefix else model


def author_name() -> ColumnElement[str]:
    """`prompted`, in a query over Completion and its Model."""
    return case((prefix_of() == "", Model.name), else_=Model.name + ", prompted (" + prefix_of() + ")")


class Author(NamedTuple):
    """A model, and the prefix before its prompts."""

    model_id: uuid.UUID
    prefix: str = ""

    def __str__(self) -> str:
        """As forms send it."""
        return f"{self.model_id}:{self.prefix}" if self.prefix else str(self.model_id)


def read_author(sent: str) -> Author:
    """What a form sent; ValueError where it is none."""
    model_id, _, prefix = sent.partition(":")
    return Author(uuid.UUID(model_id), prefix)


@dataclass(frozen=True, slots=True)
class Writer:
    """A model, and for how many prompts it has a completion as it wrote it."""

    author: Author
    name: str
    prompts: int


def writers(session: Session, project: Project) -> list[Writer]:
    """The models that can be compared, the newest first."""
    own = (
        select(Completion.model_id, prefix_of().label("prefix"), Completion.prompt_id)
        .join(Model, Model.id == Completion.model_id)
        .where(Model.project_id == project.id, best_of() == 1)
        .subquery()
    )
    query = (
        select(Model.id, Model.name, own.c.prefix, func.count(own.c.prompt_id.distinct()))
        .join(own, own.c.model_id == Model.id)
        .group_by(Model.id, own.c.prefix)
        .order_by(Model.created_at.desc(), Model.id, own.c.prefix)
    )
    return [
        Writer(Author(model_id, prefix), prompted(name, prefix), prompts)
        for model_id, name, prefix, prompts in session.execute(query)
    ]


def author_names(session: Session, project: Project) -> list[str]:
    """The names under which completions stand, also the best of several, the newest model's first. Of a model that
    wrote very many, its newest are looked at: to read a million rows for a list of choices takes too long."""
    models = session.scalars(select(Model.id).where(Model.project_id == project.id).order_by(Model.created_at.desc()))
    names: dict[str, None] = {}
    for model_id in models.all():
        own = select(Completion.id).where(Completion.model_id == model_id).order_by(Completion.id.desc())
        found = select(author_name()).join(Completion, Completion.model_id == Model.id).distinct()
        newest = own.limit(NAMED_BY).subquery()
        names |= dict.fromkeys(sorted(session.scalars(found.where(Completion.id.in_(select(newest))))))
    return list(names)


def completions_side_by_side(
    session: Session, project: Project, authors: Sequence[Author], wanted: PromptFilter, *, limit: int | None
) -> dict[uuid.UUID, list[Completion]]:
    """The newest that each of these models wrote for a prompt, of the prompts that all of them wrote for."""
    query = (
        select(Completion, prefix_of())
        .join(Prompt, Prompt.id == Completion.prompt_id)
        .where(Completion.model_id.in_({each.model_id for each in authors}), best_of() == 1)
        .where(*conditions_of(project, wanted))
        .order_by(Prompt.created_at, Prompt.id, Completion.created_at, Completion.id)
    )
    by_prompt: dict[uuid.UUID, dict[Author, Completion]] = {}
    for completion, prefix in session.execute(query):
        assert completion.model_id is not None, "asked for by its model"
        if (author := Author(completion.model_id, prefix)) in authors:
            by_prompt.setdefault(completion.prompt_id, {})[author] = completion
    whole = [
        (prompt_id, list(found.values())) for prompt_id, found in by_prompt.items() if len(found) == len(set(authors))
    ]
    return dict(whole[:limit])


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
    of_project = exists().where(Prompt.id == Demonstration.prompt_id, *conditions_of(project, ALL))
    return (
        session.scalar(select(func.count(Demonstration.prompt_id.distinct())).where(of_project, _awaits_grade())) or 0
    )
