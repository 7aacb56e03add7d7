"""How models stand against one of them, by people's judgments of their completions side by side."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.evals.contestants import Contestant, Judged, best_of
from app.evals.judgments import Judgments, Rankings, counting, read_rankings
from app.evals.kept import at_hand
from app.evals.preferences import (
    Enough,
    Strength,
    against,
    enough,
    strengths,
    win_rate,
    win_rate_at_equal_length,
)
from app.evals.ratings import Ratings, read_ratings
from app.evals.spread import Estimate
from app.labeling.models import Completion, Ranking, RankingPlace
from app.projects.models import Project
from app.registry.models import Model


@dataclass(frozen=True, slots=True)
class Standing:
    """How one contestant stands against the baseline; the baseline itself has no win rate."""

    judged: Judged
    win_rate: Estimate | None = None  # none without shared rankings
    at_equal_length: Estimate | None = None
    enough: Enough | None = None
    strength: Strength | None = None
    scales: dict[str, Estimate] = field(default_factory=dict)
    flags: dict[str, Estimate] = field(default_factory=dict)

    @property
    def contestant(self) -> Contestant:
        return self.judged.contestant


@dataclass(frozen=True, slots=True)
class Slice:
    """The win rates on a part of the prompts."""

    name: str
    rates: dict[Contestant, Estimate]


@dataclass(frozen=True, slots=True)
class Standings:
    """All of it, the best first."""

    baseline: Judged
    rows: list[Standing]
    by_use_case: list[Slice]
    by_source: list[Slice]
    scales: list[str]
    flags: list[str]
    judgments: int


def standings(session: Session, project: Project, baseline: Contestant, *, judgments: Judgments) -> Standings:
    """Every judged contestant against `baseline`, which must be one of them."""
    rankings = at_hand(read_rankings, session, project, judgments)
    ratings = at_hand(read_ratings, session, project, judgments)
    judged = _with_models(session, {*rankings.contestants, *ratings.contestants, baseline})
    found = _strengths(rankings, baseline)
    rows = [_standing(each, baseline, rankings, ratings, found) for each in judged]
    return Standings(
        baseline=next(each for each in judged if each.contestant == baseline),
        rows=sorted(rows, key=lambda row: -(row.win_rate.mean if row.win_rate else 0.5)),
        by_use_case=_slices(rankings, baseline, [each.value.replace("_", " ") for each in rankings.use_cases]),
        by_source=_slices(rankings, baseline, rankings.sources),
        scales=list(ratings.scales),
        flags=list(ratings.flags),
        judgments=len(rankings),
    )


def _strengths(rankings: Rankings, baseline: Contestant) -> dict[Contestant, Strength]:
    if baseline not in rankings.contestants:
        return {}
    found = strengths(rankings, rankings.contestants.index(baseline))
    return {rankings.contestants[each.contestant]: each for each in found}


def _standing(
    judged: Judged, baseline: Contestant, rankings: Rankings, ratings: Ratings, found: dict[Contestant, Strength]
) -> Standing:
    mine = judged.contestant
    duels = None
    if mine != baseline and {mine, baseline} <= set(rankings.contestants):
        duels = against(rankings, rankings.contestants.index(mine), rankings.contestants.index(baseline))
    rate = win_rate(duels) if duels else None
    scales = {key: ratings.scale(key, mine) for key in ratings.scales}
    flags = {key: ratings.flag(key, mine) for key in ratings.flags}
    return Standing(
        judged,
        rate,
        win_rate_at_equal_length(duels) if duels else None,
        enough(rate) if rate else None,
        found.get(mine),
        {key: each for key, each in scales.items() if each},
        {key: each for key, each in flags.items() if each},
    )


def _slices(rankings: Rankings, baseline: Contestant, names: list[str]) -> list[Slice]:
    """The win rates by what the rankings' prompts are called, the most frequent first; none where all are alike."""
    counts = Counter(names)
    if len(counts) < 2 or baseline not in rankings.contestants:
        return []
    column, base = np.array(names), rankings.contestants.index(baseline)
    slices = []
    for name, _ in counts.most_common():
        rates = {
            contestant: win_rate(against(rankings, number, base, chosen=column == name))
            for number, contestant in enumerate(rankings.contestants)
            if number != base
        }
        found = {contestant: rate for contestant, rate in rates.items() if rate}
        if found:
            slices.append(Slice(name, found))
    return slices


def judged_contestants(session: Session, project: Project, *, judgments: Judgments) -> list[Judged]:
    """Those with at least one completion that a counting ranking placed, the oldest model first."""
    rows = session.execute(
        counting(select(Model.id, best_of()), project, judgments)
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
