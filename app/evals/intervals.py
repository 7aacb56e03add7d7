"""A mean over judgments with its 95 % interval; judgments of one prompt are not independent."""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from math import nan

from app.quality.intervals import resampled_interval

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
    clusters = [(sums[key], float(counts[key])) for key in sums]
    total, weight = (sum(column) for column in zip(*clusters, strict=True))
    low, high = resampled_interval(clusters, resamples=RESAMPLES, seed=seed) or (nan, nan)
    return Estimate(total / weight, low, high, int(weight), len(clusters))
