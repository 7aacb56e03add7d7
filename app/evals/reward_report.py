"""What people's rankings say of a reward model: how often it orders completions as they did, beside each other."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from app.evals.reading import Numbers
from app.evals.spread import Clusters, Estimate, mean_of, share_of, sigmoid

UNSEEN = "unseen"  # prompts of the validation and test splits: the reward model learned from none of them
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RankedOnce:
    """One ranking with the rewards of what was ranked."""

    prompt: str
    labeler: str
    group: str  # training | held_out
    use_case: str
    is_unseen: bool
    is_simulated: bool
    ranks: list[int]
    models: list[str | None]
    rewards: list[float]


def report(rankings: Sequence[RankedOnce]) -> dict[str, Any]:
    """The run's result, as JSON: shares of pairs ordered alike, by whom and what, and each model's mean reward."""
    unseen = [each for each in rankings if each.is_unseen]
    parts: list[tuple[str, str, list[RankedOnce]]] = [("all", UNSEEN, unseen)]
    for by in ("group", "use_case"):
        parts += [(by, name, [each for each in unseen if getattr(each, by) == name]) for name in _found(unseen, by)]
    people = [each for each in unseen if not each.is_simulated]
    if 0 < len(people) < len(unseen):
        parts.append(("people", "people alone", people))
    rows = [_row(by, name, own, agreement) for by, name, own in parts]
    rows.append(_row("seen", "training prompts", [each for each in rankings if not each.is_unseen], agreement))
    rows.append(_row("labelers", "labelers with each other", unseen, among_labelers))
    return {
        "agreement": [row for row in rows if row],
        "rewards": _mean_rewards(rankings),
        "models": _beside_people(unseen),
        "rankings": len(rankings),
    }


def _found(rankings: Iterable[RankedOnce], name: str) -> list[str]:
    """What there are several of; of a single one the whole says it."""
    found = sorted({getattr(each, name) for each in rankings})
    return found if len(found) > 1 or name == "group" else []


Measure = Callable[[Sequence[RankedOnce]], tuple[list[float], list[RankedOnce], int]]


def _row(by: str, name: str, rankings: Sequence[RankedOnce], measure: Measure) -> Row | None:
    values, counted, pairs = measure(rankings)
    estimate = share_of(np.array(values), clusters_of(counted)) if values else None
    return {"by": by, "name": name, "pairs": pairs, **figures(estimate)} if estimate else None


def figures(estimate: Estimate) -> Row:
    """An estimate as JSON, without an interval where there is none."""
    told = asdict(estimate)
    return {key: told[key] for key in ("mean", "n", "prompts", "labelers")} | (
        {"low": estimate.low, "high": estimate.high} if estimate.has_interval else {}
    )


def clusters_of(rankings: Sequence[RankedOnce]) -> Clusters:
    return Clusters(Numbers().of([each.prompt for each in rankings]), Numbers().of([each.labeler for each in rankings]))


def agreement(rankings: Sequence[RankedOnce]) -> tuple[list[float], list[RankedOnce], int]:
    """For each ranking the share of its untied pairs that the rewards order alike; equal rewards count half."""
    values, counted, pairs = [], [], 0
    for each in rankings:
        alike = _alike(each.ranks, [-reward for reward in each.rewards])
        if alike:
            values.append(sum(alike) / len(alike))
            counted.append(each)
            pairs += len(alike)
    return values, counted, pairs


def among_labelers(rankings: Sequence[RankedOnce]) -> tuple[list[float], list[RankedOnce], int]:
    """The same between each ranking and the others of the same completions: about the most that can be reached."""
    together: dict[tuple[str, tuple[float, ...]], list[RankedOnce]] = defaultdict(list)
    for each in rankings:
        together[each.prompt, tuple(each.rewards)].append(each)
    values, counted, pairs = [], [], 0
    for same in together.values():
        for each in same:
            others = (other for other in same if other.labeler != each.labeler)
            alike = [point for other in others for point in _alike(each.ranks, other.ranks) if point != 0.5]
            if alike:
                values.append(sum(alike) / len(alike))
                counted.append(each)
                pairs += len(alike)
    return values, counted, pairs


def _alike(ranks: Sequence[int], other: Sequence[float]) -> list[float]:
    """For every pair that `ranks` does not tie: 1 in the same order, 0 in the other, one half where `other` ties."""
    return [
        0.5 + 0.5 * float(np.sign(other[j] - other[i]) * np.sign(ranks[j] - ranks[i]))
        for i in range(len(ranks))
        for j in range(i)
        if ranks[i] != ranks[j]
    ]


def _mean_rewards(rankings: Sequence[RankedOnce]) -> list[Row]:
    """Each model's mean reward over the prompts it answered, the highest first."""
    rewards: dict[str, dict[str, set[float]]] = defaultdict(lambda: defaultdict(set))
    for each in rankings:
        for model, reward in zip(each.models, each.rewards, strict=True):
            if model is not None:
                rewards[model][each.prompt].add(reward)
    rows = []
    for model, by_prompt in rewards.items():
        means = np.array([sum(own) / len(own) for own in by_prompt.values()])
        estimate = mean_of(means, Clusters.each_alone(len(means)))
        assert estimate is not None
        rows.append({"model": model, **figures(estimate)})
    return sorted(rows, key=lambda row: -row["mean"])


def _beside_people(rankings: Sequence[RankedOnce]) -> list[Row]:
    """How often each model is preferred to the others in its rankings, by people and by the reward model, which says
    sigmoid(r - r') of a pair. `overrated` is the second less the first: what optimising for the reward pulls at."""
    points: dict[str, list[float]] = defaultdict(list)
    expected: dict[str, list[float]] = defaultdict(list)
    where: dict[str, list[RankedOnce]] = defaultdict(list)
    for each in rankings:
        for model in {name for name in each.models if name is not None}:
            pairs = [(i, j) for i, mine in enumerate(each.models) if mine == model
                     for j, other in enumerate(each.models) if other not in (model, None)]  # fmt: skip
            if pairs:
                points[model].append(
                    sum(0.5 + 0.5 * np.sign(each.ranks[j] - each.ranks[i]) for i, j in pairs) / len(pairs)
                )
                expected[model].append(sum(sigmoid(each.rewards[i] - each.rewards[j]) for i, j in pairs) / len(pairs))
                where[model].append(each)
    rows = []
    for model, own in where.items():
        clusters, said = clusters_of(own), np.array(points[model])
        people, overrated = share_of(said, clusters), mean_of(np.array(expected[model]) - said, clusters)
        assert people is not None
        assert overrated is not None
        rows.append({"model": model, "people": figures(people), "overrated": figures(overrated)})
    return sorted(rows, key=lambda row: -row["people"]["mean"])


def shares_of_pairs(subsets: Sequence[str], right: Sequence[float]) -> list[Row]:
    """RewardBench: the share of pairs with the chosen one ahead, over all and in each subset."""
    rows = []
    for name in ["", *sorted(set(subsets))]:
        own = np.array([point for subset, point in zip(subsets, right, strict=True) if not name or subset == name])
        estimate = share_of(own, Clusters.each_alone(len(own)))
        if estimate:
            rows.append({"subset": name, **figures(estimate)})
    return rows
