"""Who is preferred to whom: win rates over a baseline, at equal length too, and strengths from all comparisons."""

from dataclasses import dataclass
from math import ceil, isfinite, nan

import numpy as np

from app.evals.judgments import Chosen, Duels, Rankings
from app.evals.spread import (
    PROMPTS_IF_ALIKE,
    Clusters,
    Estimate,
    Floats,
    Spread,
    is_alike,
    quantile,
    share_of,
    sigmoid,
    spread,
)

STEPS = 100
SEPARATED = 12.0  # log odds: nobody loses once in a hundred thousand, so the figure is only "always"
POWER = 0.8416  # the normal quantile of 80 %
TOO_ALIKE = 0.005  # win rates this near to one half


@dataclass(frozen=True, slots=True)
class Against:
    """One contestant's duels with another, as it sees them."""

    points: Floats  # (D,)
    longer: Floats  # (D,)
    clusters: Clusters  # (D,)


def against(rankings: Rankings, contestant: int, baseline: int, *, chosen: Chosen | None = None) -> Against:
    """`chosen`: which rankings count, (R,); none: all."""
    duels = rankings.duels
    one, other = min(contestant, baseline), max(contestant, baseline)
    theirs = (duels.one == one) & (duels.other == other)
    if chosen is not None:
        theirs &= chosen[duels.ranking]
    points, longer = duels.points[theirs], duels.longer[theirs]
    is_one = contestant == one
    return Against(
        points if is_one else 1 - points,
        longer if is_one else -longer,
        _of_rankings(rankings.clusters, duels.ranking[theirs]),
    )


def _of_rankings(clusters: Clusters, rankings: np.ndarray) -> Clusters:
    return Clusters(clusters.prompts[rankings], clusters.labelers[rankings])


def win_rate(duels: Against) -> Estimate | None:
    """How often it is preferred; a tie counts half, and a ranking once however many completions it holds."""
    return share_of(duels.points, duels.clusters)


def win_rate_at_equal_length(duels: Against) -> Estimate | None:
    """What logistic regression on the difference in length leaves at none (Dubois et al. 2024, without their term for
    how hard a prompt is). None where every duel has the same difference, or a length decides every one."""
    wide = float(np.std(duels.longer)) if len(duels.longer) else 0.0
    if not wide:
        return None
    design = np.column_stack([np.ones(len(duels.longer)), np.tanh(duels.longer / wide)])  # (D, 2)
    fitted = _logistic(design, duels.points)
    if fitted is None:
        return None
    at, influences = fitted
    return _share_at(at[0], influences[:, 0], duels.clusters)


def _share_at(odds: float, influences: Floats, clusters: Clusters) -> Estimate:
    """A share from its log odds and what each judgment moves them by."""
    found, mean = spread(influences, clusters), sigmoid(odds)
    in_shares = Spread(found.variance * (mean * (1 - mean)) ** 2, found.of_labelers * (mean * (1 - mean)) ** 2,
                       found.freedom)  # fmt: skip
    prompts, labelers = (len(np.unique(each)) for each in (clusters.prompts, clusters.labelers))
    low, high = sigmoid(odds - found.reach), sigmoid(odds + found.reach)
    if not isfinite(found.variance):
        low = high = nan
    return Estimate(mean, low, high, len(clusters.prompts), prompts, labelers, in_shares)


def _logistic(design: Floats, outcomes: Floats) -> tuple[Floats, Floats] | None:
    """Newton's method: the coefficients (d,), and each row's influence on them (n, d). None where they have no end."""
    at = np.zeros(design.shape[1])
    for _ in range(STEPS):
        expected = 1 / (1 + np.exp(-design @ at))
        hessian = design.T @ (design * (expected * (1 - expected))[:, None])
        step = np.linalg.lstsq(hessian, design.T @ (outcomes - expected), rcond=None)[0]
        at = at + step
        if np.abs(at).max() > 10 * SEPARATED:
            return None
        if np.abs(step).max() < 1e-10:
            break
    if np.abs(at).max() > SEPARATED:
        return None
    expected = 1 / (1 + np.exp(-design @ at))
    hessian = design.T @ (design * (expected * (1 - expected))[:, None])
    return at, (design * (outcomes - expected)[:, None]) @ np.linalg.pinv(hessian)


@dataclass(frozen=True, slots=True)
class Strength:
    """What a contestant's comparisons with everyone say: its log odds over the baseline, and those as a win rate."""

    contestant: int
    odds: float
    win_rate: Estimate | None  # none for the baseline


def strengths(rankings: Rankings, baseline: int) -> list[Strength]:
    """Bradley and Terry's model over all duels, a tie as half a win, the best first. Who is linked to the baseline by
    no chain of duels, or always or never preferred, has no finite strength and is left out."""
    duels, count = rankings.duels, len(rankings.contestants)
    linked, inside = list(range(count)), np.ones(len(duels.points), dtype=bool)
    before: list[int] = []
    while linked != before:  # who is left out may have been the only link of another
        before = linked
        inside = np.isin(duels.one, linked) & np.isin(duels.other, linked)
        linked = [each for each in _linked(duels, inside, baseline) if _is_finite(duels, inside, each)]
    if baseline not in linked or not inside.any():
        return []
    others = [each for each in linked if each != baseline]
    design = np.zeros((int(inside.sum()), len(others)))
    for column, each in enumerate(others):
        design[:, column] = (duels.one[inside] == each).astype(float) - (duels.other[inside] == each)
    fitted = _logistic(design, duels.points[inside])
    if fitted is None:
        return []
    at, influences = fitted
    clusters = _of_rankings(rankings.clusters, duels.ranking[inside])
    found = [Strength(baseline, 0.0, None)]
    for column, each in enumerate(others):
        found.append(Strength(each, float(at[column]), _share_at(float(at[column]), influences[:, column], clusters)))
    return sorted(found, key=lambda each: -each.odds)


def _linked(duels: Duels, inside: Chosen, baseline: int) -> list[int]:
    """Contestants that a chain of these duels leads to."""
    found, edge = {baseline}, [baseline]
    while edge:
        each = edge.pop()
        mine, theirs = inside & (duels.one == each), inside & (duels.other == each)
        near = {*duels.other[mine].tolist(), *duels.one[theirs].tolist()} - found
        found |= near
        edge += near
    return sorted(found)


def _is_finite(duels: Duels, inside: Chosen, each: int) -> bool:
    mine, theirs = inside & (duels.one == each), inside & (duels.other == each)
    points = np.concatenate([duels.points[mine], 1 - duels.points[theirs]])
    return bool(len(points)) and 0 < points.mean() < 1


@dataclass(frozen=True, slots=True)
class Enough:
    """Whether a win rate is told from one half, or how many more judgments would tell it."""

    is_told: bool
    more: int | None = None  # by these labelers on other prompts; none: no number of them would


def enough(rate: Estimate) -> Enough | None:
    """For 95 % confidence with 80 % power, if the difference is as it looks; none where nothing can be said.

    New judgments are taken to be of other prompts and by the same labelers, so what labelers differ in stays."""
    if not rate.has_interval:
        return None
    if not rate.low <= 0.5 <= rate.high:
        return Enough(is_told=True)
    difference = abs(rate.mean - 0.5)
    if difference < TOO_ALIKE:
        return Enough(is_told=False)
    if is_alike(rate.spread):
        prompts = PROMPTS_IF_ALIKE * (1 - difference) / difference
        return Enough(is_told=False, more=max(1, ceil(prompts) - rate.prompts))
    needed = (difference / (quantile(float("inf")) + POWER)) ** 2
    stays = rate.spread.of_labelers
    if needed <= stays:
        return Enough(is_told=False)
    judgments = (rate.spread.variance - stays) * rate.n / (needed - stays)
    return Enough(is_told=False, more=max(1, round(judgments) - rate.n))
