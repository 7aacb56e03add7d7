"""Each labeler's newest rankings as they were made: how fast, in which order shown, with which ratings."""

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import String, cast, func, select
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.labeling.current import is_current
from app.labeling.models import (
    Assignment,
    AssignmentState,
    Batch,
    BatchKind,
    Completion,
    Item,
    ItemCompletion,
    Ranking,
    RankingPlace,
    Rating,
)
from app.projects.models import Project
from app.prompts.models import Prompt

NEWEST = 100  # of each labeler: enough for every flag, and few enough for every page
LETTERS_PER_WORD = 6  # with the space after it
AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class Made:
    """The ranking as it stands."""

    cannot_rank: bool
    order_touched: bool
    ranks: dict[uuid.UUID, int] = field(default_factory=dict)
    likert: list[Mapping[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Work:
    """One submitted ranking of a labeler."""

    assignment_id: uuid.UUID
    item_id: uuid.UUID
    person_id: uuid.UUID
    submitted_at: datetime
    seconds: int
    words: float  # to be read: prompt and completions
    shown: Sequence[uuid.UUID]
    made: Made

    @property
    def pace(self) -> float | None:
        """Seconds per 100 words; none when the time was not measured."""
        return 100 * self.seconds / self.words if self.seconds and self.words else None


def newest_work(
    session: Session, project: Project, *, person: Person | None = None, most: int = NEWEST
) -> dict[uuid.UUID, list[Work]]:
    """The newest rankings of each labeler (or of one), newest first."""
    found: dict[uuid.UUID, list[Work]] = defaultdict(list)
    assignments = _newest_assignments(session, project, person, most)
    for start in range(0, len(assignments), AT_ONCE):
        rows = assignments[start : start + AT_ONCE]
        made = _made(session, [row.id for row in rows])
        words = _words(session, {row.item_id for row in rows})
        for row in rows:
            if row.id in made:
                shown = [uuid.UUID(each) for each in row.shown_order]
                found[row.person_id].append(
                    Work(row.id, row.item_id, row.person_id, row.submitted_at, row.active_seconds,
                         words.get(row.item_id, 0), shown, made[row.id])
                )  # fmt: skip
    return found


def _newest_assignments(session: Session, project: Project, person: Person | None, most: int) -> Sequence[Any]:
    newest_first = func.row_number().over(
        partition_by=Assignment.person_id, order_by=(Assignment.submitted_at.desc(), Assignment.id)
    )
    numbered = (
        select(Assignment.id, newest_first.label("number"))
        .join(Item, Item.id == Assignment.item_id)
        .join(Batch, Batch.id == Item.batch_id)
        .where(Batch.project_id == project.id, Batch.kind.not_in([BatchKind.demonstration, BatchKind.grading]))
        .where(Assignment.state == AssignmentState.submitted)
    )
    if person is not None:
        numbered = numbered.where(Assignment.person_id == person.id)
    newest = numbered.subquery()
    columns = (
        Assignment.id,
        Assignment.item_id,
        Assignment.person_id,
        Assignment.submitted_at,
        Assignment.active_seconds,
        Assignment.shown_order,
    )
    query = select(*columns).join(newest, newest.c.id == Assignment.id).where(newest.c.number <= most)
    return session.execute(query.order_by(Assignment.person_id, newest.c.number)).all()


def _made(session: Session, assignment_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Made]:
    """The labelers' current rankings of these assignments; a lead's decisions are none."""
    mine = (
        select(Ranking.id, Ranking.assignment_id, Ranking.cannot_rank, Ranking.order_touched)
        .join(Assignment, (Assignment.item_id == Ranking.item_id) & (Assignment.id == Ranking.assignment_id))
        .where(Assignment.id.in_(assignment_ids), ~Ranking.is_adjudication, is_current(Ranking))
    )
    by_ranking: dict[uuid.UUID, Made] = {}
    by_assignment: dict[uuid.UUID, Made] = {}
    for ranking_id, assignment_id, cannot_rank, order_touched in session.execute(mine):
        by_ranking[ranking_id] = by_assignment[assignment_id] = Made(cannot_rank, order_touched)
    places = select(RankingPlace.ranking_id, RankingPlace.completion_id, RankingPlace.rank)
    for ranking_id, completion_id, rank in session.execute(places.where(RankingPlace.ranking_id.in_(list(by_ranking)))):
        by_ranking[ranking_id].ranks[completion_id] = rank
    ratings = select(Rating.ranking_id, Rating.likert).where(Rating.ranking_id.in_(list(by_ranking)))
    for ranking_id, likert in session.execute(ratings):
        by_ranking[ranking_id].likert.append(likert)
    return by_assignment


def _words(session: Session, item_ids: set[uuid.UUID]) -> dict[uuid.UUID, float]:
    """About how many words each item holds: the database counts letters, not words."""
    completions = (
        select(ItemCompletion.item_id, func.sum(func.length(Completion.text)))
        .join(Completion, Completion.id == ItemCompletion.completion_id)
        .where(ItemCompletion.item_id.in_(item_ids))
        .group_by(ItemCompletion.item_id)
    )
    prompts = (
        select(Item.id, func.length(cast(Prompt.messages, String)))
        .join(Prompt, Prompt.id == Item.prompt_id)
        .where(Item.id.in_(item_ids))
    )
    letters: dict[uuid.UUID, float] = defaultdict(float)
    for query in (completions, prompts):
        for item_id, count in session.execute(query):
            letters[item_id] += count
    return {item_id: count / LETTERS_PER_WORD for item_id, count in letters.items()}
