"""Win rates, Likert means and flag rates of models, from people's rankings of their completions side by side."""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVarTuple

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app.accounts.models import Group, Person
from app.evals.contestants import Contestant, Judged, best_of
from app.evals.intervals import Estimate, clustered_mean
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
    Rating,
)
from app.labeling.questions import flag_keys
from app.projects.models import Project, RatingSchema
from app.prompts.models import Prompt, UseCase
from app.quality.exclusions import is_left_out
from app.registry.models import Model

Columns = TypeVarTuple("Columns")


@dataclass(frozen=True, slots=True)
class Judgments:
    """Which judgments count: of one kind of batch, one group of labelers, people or simulated labelers or both."""

    kind: BatchKind | None = BatchKind.evaluation
    group: Group | None = None
    simulated: bool | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How one contestant stands against the baseline."""

    judged: Judged
    win_rate: Estimate | None  # over the baseline, ties half; none for the baseline itself or without shared rankings
    likert: Estimate | None
    # Share of its rated completions that carry the flag, of those that were asked for it: rated under a version of the
    # schema that has it, to a prompt of a use case that it is for.
    flags: dict[str, float] = field(default_factory=dict)
    rated: int = 0


def _counting(query: Select[*Columns], project: Project, judgments: Judgments) -> Select[*Columns]:
    """Restrict a query over Ranking to the judgments that count: none superseded, none that a lead has excluded, no
    practice, and no lead's decision, which is made only where labelers disagree."""
    query = (
        query.select_from(Ranking)
        .join(Item, Item.id == Ranking.item_id)
        .join(Batch, Batch.id == Item.batch_id)
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
    return query


def _ranked(
    session: Session, project: Project, judgments: Judgments
) -> Iterator[tuple[uuid.UUID, dict[Contestant, list[int]]]]:
    """Each ranking as (prompt, ranks by contestant)."""
    rows = session.execute(
        _counting(select(Ranking.id, Item.prompt_id, Model.id, best_of(), RankingPlace.rank), project, judgments)
        .join(RankingPlace, RankingPlace.ranking_id == Ranking.id)
        .join(Completion, Completion.id == RankingPlace.completion_id)
        .join(Model, Model.id == Completion.model_id)
        .order_by(Ranking.id)
    )
    rankings: dict[uuid.UUID, tuple[uuid.UUID, dict[Contestant, list[int]]]] = {}
    for ranking_id, prompt_id, model_id, drawn, rank in rows:
        rankings.setdefault(ranking_id, (prompt_id, defaultdict(list)))[1][Contestant(model_id, drawn)].append(rank)
    yield from rankings.values()


def preference(mine: list[int], theirs: list[int]) -> float:
    """The share of pairs in which my completion is ranked above theirs; a tie counts half. Rank 1 is best."""
    points = [1.0 if a < b else 0.5 if a == b else 0.0 for a in mine for b in theirs]
    return sum(points) / len(points)


def win_rates(
    session: Session, project: Project, baseline: Contestant, *, judgments: Judgments
) -> dict[Contestant, Estimate]:
    """Each contestant's win rate over `baseline`; a ranking counts once however many completions it holds."""
    points: dict[Contestant, list[tuple[uuid.UUID, float]]] = defaultdict(list)
    for prompt_id, ranks in _ranked(session, project, judgments):
        if baseline not in ranks:
            continue
        for contestant, mine in ranks.items():
            if contestant != baseline:
                points[contestant].append((prompt_id, preference(mine, ranks[baseline])))
    estimates = {contestant: clustered_mean(values) for contestant, values in points.items()}
    return {contestant: estimate for contestant, estimate in estimates.items() if estimate}


@dataclass(frozen=True, slots=True)
class _Rated:
    """A completion's rating: of which prompt, the scales' answers, the flags set, and those that could be set."""

    prompt_id: uuid.UUID
    likert: dict[str, int]
    flags: frozenset[str]
    asked: frozenset[str]


def _ratings(session: Session, project: Project, judgments: Judgments) -> dict[Contestant, list[_Rated]]:
    """Each rated completion, by contestant. Versions of the schema differ in what they ask, and of which prompts."""
    schemas = select(RatingSchema.id, RatingSchema.fields).where(RatingSchema.project_id == project.id)
    asked = {
        (schema_id, use_case): frozenset(flag_keys(fields, use_case))
        for schema_id, fields in session.execute(schemas)
        for use_case in UseCase
    }
    columns = (Model.id, best_of(), Item.prompt_id, Prompt.use_case, Rating.likert, Rating.flags,
               Rating.rating_schema_id)  # fmt: skip
    rows = session.execute(
        _counting(select(*columns), project, judgments)
        .join(Prompt, Prompt.id == Item.prompt_id)
        .join(Rating, Rating.ranking_id == Ranking.id)
        .join(Completion, Completion.id == Rating.completion_id)
        .join(Model, Model.id == Completion.model_id)
    )
    found: dict[Contestant, list[_Rated]] = defaultdict(list)
    for model_id, drawn, prompt_id, use_case, likert, flags, schema_id in rows:
        rated = _Rated(prompt_id, likert, frozenset(flags), asked.get((schema_id, use_case), frozenset()))
        found[Contestant(model_id, drawn)].append(rated)
    return found


def standings(session: Session, project: Project, baseline: Contestant, *, judgments: Judgments) -> list[Standing]:
    """Every judged contestant: its win rate over `baseline`, Likert mean and flag rates, the best first."""
    rates = win_rates(session, project, baseline, judgments=judgments)
    ratings = _ratings(session, project, judgments)
    keys = sorted({key for own in ratings.values() for each in own for key in each.flags})
    rows = []
    for judged in _with_models(session, {*rates, *ratings, baseline}):
        rated = ratings.get(judged.contestant, [])
        likert = clustered_mean(
            (each.prompt_id, float(each.likert["overall"])) for each in rated if "overall" in each.likert
        )
        rows.append(Standing(judged, rates.get(judged.contestant), likert, _flag_rates(rated, keys), len(rated)))
    return sorted(rows, key=lambda row: row.win_rate.mean if row.win_rate else 0.5, reverse=True)


def _flag_rates(rated: Sequence[_Rated], keys: Iterable[str]) -> dict[str, float]:
    rates = {}
    for key in keys:
        asked = [key in each.flags for each in rated if key in each.asked or key in each.flags]
        if asked:
            rates[key] = sum(asked) / len(asked)
    return rates


def judged_contestants(session: Session, project: Project, *, judgments: Judgments) -> list[Judged]:
    """Those with at least one completion that a counting ranking placed, the oldest model first."""
    rows = session.execute(
        _counting(select(Model.id, best_of()), project, judgments)
        .join(RankingPlace, RankingPlace.ranking_id == Ranking.id)
        .join(Completion, Completion.id == RankingPlace.completion_id)
        .join(Model, Model.id == Completion.model_id)
        .distinct()
    )
    return _with_models(session, {Contestant(*row) for row in rows})


def _with_models(session: Session, contestants: Iterable[Contestant]) -> list[Judged]:
    """The oldest model first, and of a model what it wrote before the best of several."""
    wanted = set(contestants)
    models = session.scalars(select(Model).where(Model.id.in_({each.model_id for each in wanted})))
    found = [Judged(model, drawn) for model in models for model_id, drawn in wanted if model_id == model.id]
    return sorted(found, key=lambda each: (each.model.created_at, each.best_of))
