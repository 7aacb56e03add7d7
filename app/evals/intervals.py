"""95 % intervals by a bootstrap that draws whole clusters: judgments of one prompt are not independent."""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean, its 95 % percentile interval, and what it rests on: `n` judgments of `clusters` prompts."""

    mean: float
    low: float
    high: float
    n: int
    clusters: int


def clustered_mean(values: Iterable[tuple[Hashable, float]], *, seed: int = 0) -> Estimate | None:
    """The mean of (cluster, value) pairs; none without values. One cluster tells nothing of the spread: nan bounds."""
    sums: dict[Hashable, float] = defaultdict(float)
    counts: dict[Hashable, int] = defaultdict(int)
    for cluster, value in values:
        sums[cluster] += value
        counts[cluster] += 1
    if not sums:
        return None
    total, weight = np.array(list(sums.values())), np.array([counts[key] for key in sums], dtype=float)  # (C,), (C,)
    mean, clusters = float(total.sum() / weight.sum()), len(total)
    if clusters == 1:
        return Estimate(mean, float("nan"), float("nan"), int(weight.sum()), 1)
    draws = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=RESAMPLES)
    means = (draws @ total) / (draws @ weight)  # (RESAMPLES,)
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(mean, float(low), float(high), int(weight.sum()), clusters)
