"""The judgments that count, and what they hold, as columns of numbers: once read, every figure is a few sums."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVarTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from app.accounts.models import Group, Person
from app.evals.contestants import Contestant, best_of
from app.evals.spread import Clusters, Codes, Floats
from app.labeling.current import is_current
from app.labeling.models import (
    Assignment,
    Batch,
    BatchKind,
    Completion,
    Item,
    ItemPurpose,
    Ranking,
    RankingPlace,
)
from app.projects.models import Project
from app.prompts.models import Prompt, UseCase
from app.quality.exclusions import is_left_out
from app.registry.models import Model

Columns = TypeVarTuple("Columns")
Chosen = npt.NDArray[np.bool_]
ROWS_AT_ONCE = 5000


@dataclass(frozen=True, slots=True)
class Judgments:
    """Which judgments count: of one kind of batch, one group of labelers, people or simulated labelers or both, prompts
    of one use case or one source."""

    kind: BatchKind | None = BatchKind.evaluation
    group: Group | None = None
    simulated: bool | None = None
    use_case: UseCase | None = None
    source: str = ""


def counting(query: Select[*Columns], project: Project, judgments: Judgments) -> Select[*Columns]:
    """Restrict a query over Ranking to the judgments that count: none superseded, none that a lead has excluded, no
    practice, and no lead's decision, which is made only where labelers disagree."""
    query = (
        query.select_from(Ranking)
        .join(Item, Item.id == Ranking.item_id)
        .join(Batch, Batch.id == Item.batch_id)
        .join(Prompt, Prompt.id == Item.prompt_id)
        .join(Assignment, Assignment.id == Ranking.assignment_id)
        .join(Person, Person.id == Ranking.person_id)
        .where(Batch.project_id == project.id, Ranking.cannot_rank.is_(False), Item.purpose != ItemPurpose.training)
        .where(is_current(Ranking), ~Ranking.is_adjudication, ~is_left_out(project, Ranking))
    )
    if judgments.kind is not None:
        query = query.where(Batch.kind == judgments.kind)
    if judgments.group is not None:
        query = query.where(Assignment.group == judgments.group)  # as it was then: people move
    if judgments.simulated is not None:
        query = query.where(Person.is_simulated.is_(judgments.simulated))
    if judgments.use_case is not None:
        query = query.where(Prompt.use_case == judgments.use_case)
    if judgments.source:
        query = query.where(Prompt.source == judgments.source)
    return query


class Numbers:
    """Things as numbers from 0, in the order in which they come."""

    def __init__(self) -> None:
        self.things: dict[Hashable, int] = {}

    def of(self, things: Iterable[Hashable]) -> Codes:
        number = self.things.setdefault
        return np.array([number(each, len(self.things)) for each in things], dtype=np.int64)


@dataclass(frozen=True)
class Rankings:
    """R rankings and their P places, those of one ranking beside each other."""

    clusters: Clusters  # (R,)
    use_cases: list[UseCase]  # (R,)
    sources: list[str]  # (R,)
    contestants: list[Contestant]  # (C,)
    ranking: Codes  # (P,) from 0 to R - 1, never falling
    contestant: Codes  # (P,) from 0 to C - 1
    rank: Codes  # (P,) 1 is best
    length: Floats  # (P,) characters
    kept: dict[str, Any] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.use_cases)

    @cached_property
    def duels(self) -> "Duels":
        return duels_of(self)


@dataclass(frozen=True, slots=True)
class Duels:
    """Two contestants within one ranking, each two once, D of them; what one contestant wrote is taken together."""

    ranking: Codes  # (D,)
    one: Codes  # (D,) the contestant with the lower number
    other: Codes  # (D,)
    points: Floats  # (D,) the share of pairs of completions in which `one` is above `other`; a tie counts half
    longer: Floats  # (D,) by how many characters its completions are longer, on average


def read_rankings(session: Session, project: Project, judgments: Judgments) -> Rankings:
    """All that count. Reads every place: some microseconds each."""
    columns = (Ranking.id, Item.prompt_id, Ranking.person_id, Prompt.use_case, Prompt.source)
    rows = session.execute(counting(select(*columns), project, judgments).order_by(Ranking.id)).all()
    number_of = {row.id: number for number, row in enumerate(rows)}
    prompts, labelers, contestants = Numbers(), Numbers(), Numbers()
    placed = counting(
        select(Ranking.id, Completion.model_id, best_of(), RankingPlace.rank, func.length(Completion.text)),
        project,
        judgments,
    )
    placed = (
        placed.join(RankingPlace, RankingPlace.ranking_id == Ranking.id)
        .join(Completion, Completion.id == RankingPlace.completion_id)
        .join(Model, Model.id == Completion.model_id)  # a person's own text is no contestant
        .order_by(Ranking.id)
        .execution_options(yield_per=ROWS_AT_ONCE)
    )
    places = [
        (number_of[ranking_id], (model_id, drawn), rank, length)
        for ranking_id, model_id, drawn, rank, length in session.execute(placed)
        if ranking_id in number_of  # made since the statement before
    ]
    ranking, who, rank, length = zip(*places, strict=True) if places else ((), (), (), ())
    coded = contestants.of(who)
    return Rankings(
        Clusters(prompts.of(row.prompt_id for row in rows), labelers.of(row.person_id for row in rows)),
        [row.use_case for row in rows],
        [row.source for row in rows],
        [Contestant(*each) for each in contestants.things],  # type: ignore[misc]
        np.array(ranking, dtype=np.int64),
        coded,
        np.array(rank, dtype=np.int64),
        np.array(length, dtype=np.float64),
    )


def duels_of(rankings: Rankings) -> Duels:
    """Each ranking's pairs of completions by different contestants, averaged over those of the same two."""
    keys, points, longer = [], [], []
    contestants = max(1, len(rankings.contestants))
    starts = np.flatnonzero(np.diff(rankings.ranking, prepend=-1))  # (places' rankings,)
    sizes = np.diff(np.append(starts, len(rankings.ranking)))
    for size in np.unique(sizes):
        places = starts[sizes == size][:, None] + np.arange(size)  # (rankings of that size, size)
        for first in range(size):
            for second in range(first + 1, size):
                a, b = places[:, first], places[:, second]
                swapped = rankings.contestant[a] > rankings.contestant[b]
                a, b = np.where(swapped, b, a), np.where(swapped, a, b)
                apart = rankings.contestant[a] != rankings.contestant[b]
                a, b = a[apart], b[apart]
                key = rankings.ranking[a] * contestants + rankings.contestant[a]
                keys.append(key * contestants + rankings.contestant[b])
                points.append((np.sign(rankings.rank[b] - rankings.rank[a]) + 1) / 2)
                longer.append(rankings.length[a] - rankings.length[b])
    if not keys:
        none = np.array([], dtype=np.int64)
        return Duels(none, none, none, np.array([]), np.array([]))
    found, where = np.unique(np.concatenate(keys), return_inverse=True)
    pairs = np.bincount(where)
    mean_points = np.bincount(where, weights=np.concatenate(points)) / pairs
    mean_longer = np.bincount(where, weights=np.concatenate(longer)) / pairs
    of_both, other = np.divmod(found, contestants)
    ranking, one = np.divmod(of_both, contestants)
    return Duels(ranking, one, other, mean_points, mean_longer)
