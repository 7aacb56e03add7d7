"""Ratios with 95 % intervals by a bootstrap that draws whole clusters: what shares a cluster is not independent."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Resamples are drawn in blocks of about this many numbers, so that a large project doesn't fill the memory.
BLOCK = 2_000_000
RESAMPLES = 1000
Clusters = Sequence[tuple[float, float]]  # (sum, count) of each


@dataclass(frozen=True, slots=True)
class Figure:
    """A ratio with its 95 % interval (none with fewer than two items), and what it rests on."""

    value: float
    interval: tuple[float, float] | None
    n: int  # what was counted: comparisons, mostly
    items: int  # the clusters that were resampled


def clustered_figure(counts: Iterable[tuple[Hashable, float, float]], *, seed: int = 0) -> Figure | None:
    """The ratio of all sums to all counts, given as (cluster, sum, count); none when nothing was counted."""
    clusters: dict[Hashable, tuple[float, float]] = {}
    for cluster, total, count in counts:
        if count:
            before = clusters.get(cluster, (0.0, 0.0))
            clusters[cluster] = (before[0] + total, before[1] + count)
    if not clusters:
        return None
    sums, counted = (sum(column) for column in zip(*clusters.values(), strict=True))
    interval = resampled_interval(list(clusters.values()), resamples=RESAMPLES, seed=seed)
    return Figure(sums / counted, interval, round(counted), len(clusters))


def resampled_interval(clusters: Clusters, *, resamples: int, seed: int) -> tuple[float, float] | None:
    """The middle 95 % of sum / count over resampled clusters, each given as (sum, count); none with fewer than two."""
    if len(clusters) < 2:
        return None
    return middle(_resampled_ratios(clusters, resamples=resamples, seed=seed))


def difference_interval(before: Clusters, after: Clusters, *, seed: int = 0) -> tuple[float, float] | None:
    """The middle 95 % of the ratio after less the ratio before, both resampled; none with fewer than two clusters."""
    if min(len(before), len(after)) < 2:
        return None
    earlier = _resampled_ratios(before, resamples=RESAMPLES, seed=seed)
    return middle(_resampled_ratios(after, resamples=RESAMPLES, seed=seed + 1) - earlier)


def middle(draws: npt.NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


def _resampled_ratios(clusters: Clusters, *, resamples: int, seed: int) -> npt.NDArray[np.float64]:
    # Clusters with the same numbers are interchangeable: resample how many of each kind there are.
    kinds, number = np.unique(np.array(clusters, dtype=float), axis=0, return_counts=True)  # (C, 2), (C,)
    generator = np.random.default_rng(seed)
    ratios = []
    block = max(1, min(resamples, BLOCK // len(kinds)))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = generator.multinomial(len(clusters), number / len(clusters), size=size)  # (size, C)
        sums, counts = (drawn @ kinds).T  # (size,), (size,)
        ratios.append(sums / counts)
    return np.concatenate(ratios)
