"""95 % intervals of a ratio by a bootstrap that draws whole clusters: what shares a cluster is not independent."""

from collections.abc import Sequence

import numpy as np

# Resamples are drawn in blocks of about this many numbers, so that a large project doesn't fill the memory.
BLOCK = 2_000_000


def resampled_interval(
    clusters: Sequence[tuple[float, float]], *, resamples: int, seed: int
) -> tuple[float, float] | None:
    """The middle 95 % of sum / count over resampled clusters, each given as (sum, count); none with fewer than two."""
    if len(clusters) < 2:
        return None
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
    low, high = np.percentile(np.concatenate(ratios), [2.5, 97.5])
    return float(low), float(high)
