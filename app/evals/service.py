"""Win rates, Likert means and flag rates of models, from people's rankings of their completions side by side."""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVarTuple

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app.accounts.models import Group, Person
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
from app.projects.models import Project, RatingSchema
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
    """How one model stands against the baseline."""

    model: Model
    win_rate: Estimate | None  # over the baseline, ties half; none for the baseline itself or without shared rankings
    likert: Estimate | None
    # Share of its rated completions that carry the flag, of those rated under a version of the schema that has it.
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


def _ranked_models(
    session: Session, project: Project, judgments: Judgments
) -> Iterator[tuple[uuid.UUID, dict[uuid.UUID, list[int]]]]:
    """Each ranking as (prompt, ranks by model)."""
    rows = session.execute(
        _counting(select(Ranking.id, Item.prompt_id, Model.id, RankingPlace.rank), project, judgments)
        .join(RankingPlace, RankingPlace.ranking_id == Ranking.id)
        .join(Completion, Completion.id == RankingPlace.completion_id)
        .join(Model, Model.id == Completion.model_id)
        .order_by(Ranking.id)
    )
    rankings: dict[uuid.UUID, tuple[uuid.UUID, dict[uuid.UUID, list[int]]]] = {}
    for ranking_id, prompt_id, model_id, rank in rows:
        rankings.setdefault(ranking_id, (prompt_id, defaultdict(list)))[1][model_id].append(rank)
    yield from rankings.values()


def preference(mine: list[int], theirs: list[int]) -> float:
    """The share of pairs in which my completion is ranked above theirs; a tie counts half. Rank 1 is best."""
    points = [1.0 if a < b else 0.5 if a == b else 0.0 for a in mine for b in theirs]
    return sum(points) / len(points)


def win_rates(
    session: Session, project: Project, baseline: Model, *, judgments: Judgments
) -> dict[uuid.UUID, Estimate]:
    """Each model's win rate over `baseline`; a ranking counts once however many completions it holds."""
    points: dict[uuid.UUID, list[tuple[uuid.UUID, float]]] = defaultdict(list)
    for prompt_id, ranks in _ranked_models(session, project, judgments):
        if baseline.id not in ranks:
            continue
        for model_id, mine in ranks.items():
            if model_id != baseline.id:
                points[model_id].append((prompt_id, preference(mine, ranks[baseline.id])))
    estimates = {model_id: clustered_mean(values) for model_id, values in points.items()}
    return {model_id: estimate for model_id, estimate in estimates.items() if estimate}


@dataclass(frozen=True, slots=True)
class _Rated:
    """A completion's rating: of which prompt, the scales' answers, the flags set, and those that could be set."""

    prompt_id: uuid.UUID
    likert: dict[str, int]
    flags: frozenset[str]
    asked: frozenset[str]


def _ratings(session: Session, project: Project, judgments: Judgments) -> dict[uuid.UUID, list[_Rated]]:
    """Each rated completion, by model. Versions of the schema differ in what they ask."""
    schemas = select(RatingSchema.id, RatingSchema.fields).where(RatingSchema.project_id == project.id)
    asked = {
        schema_id: frozenset(each["key"] for each in fields.get("flags", []))
        for schema_id, fields in session.execute(schemas)
    }
    columns = (Model.id, Item.prompt_id, Rating.likert, Rating.flags, Rating.rating_schema_id)
    rows = session.execute(
        _counting(select(*columns), project, judgments)
        .join(Rating, Rating.ranking_id == Ranking.id)
        .join(Completion, Completion.id == Rating.completion_id)
        .join(Model, Model.id == Completion.model_id)
    )
    by_model: dict[uuid.UUID, list[_Rated]] = defaultdict(list)
    for model_id, prompt_id, likert, flags, schema_id in rows:
        by_model[model_id].append(_Rated(prompt_id, likert, frozenset(flags), asked.get(schema_id, frozenset())))
    return by_model


def standings(session: Session, project: Project, baseline: Model, *, judgments: Judgments) -> list[Standing]:
    """Every judged model: its win rate over `baseline`, Likert mean and flag rates, the best first."""
    rates = win_rates(session, project, baseline, judgments=judgments)
    ratings = _ratings(session, project, judgments)
    keys = sorted({key for of_model in ratings.values() for each in of_model for key in each.flags})
    models = session.scalars(select(Model).where(Model.id.in_({*rates, *ratings, baseline.id}))).all()
    rows = []
    for model in models:
        rated = ratings.get(model.id, [])
        likert = clustered_mean(
            (each.prompt_id, float(each.likert["overall"])) for each in rated if "overall" in each.likert
        )
        rows.append(Standing(model, rates.get(model.id), likert, _flag_rates(rated, keys), len(rated)))
    return sorted(rows, key=lambda row: row.win_rate.mean if row.win_rate else 0.5, reverse=True)


def _flag_rates(rated: Sequence[_Rated], keys: Iterable[str]) -> dict[str, float]:
    rates = {}
    for key in keys:
        asked = [key in each.flags for each in rated if key in each.asked or key in each.flags]
        if asked:
            rates[key] = sum(asked) / len(asked)
    return rates


def judged_models(session: Session, project: Project, *, judgments: Judgments) -> list[Model]:
    """Models with at least one completion that a counting ranking placed, oldest first."""
    ranked = (
        _counting(select(Completion.model_id), project, judgments)
        .join(RankingPlace, RankingPlace.ranking_id == Ranking.id)
        .join(Completion, Completion.id == RankingPlace.completion_id)
        .distinct()
    )
    return list(session.scalars(select(Model).where(Model.id.in_(ranked)).order_by(Model.created_at)))
