"""How often a reward model sides with the labelers, with an interval that knows which pairs belong together."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Share of pairs ordered as the labeler did, its 95 % interval, and what it was taken over."""

    value: float
    low: float
    high: float
    pairs: int
    clusters: int


def clustered_accuracy(correct: Sequence[float], pairs: Sequence[int]) -> Accuracy:
    """Right pairs over all pairs, `correct[i]` of `pairs[i]` in cluster i; equal scores count one half.

    The pairs of a cluster share their completions and are not independent, so the variance is that of a ratio of
    cluster totals. Wilson's interval with the number of independent pairs that this variance is worth; where every
    cluster is all right or all wrong there is no variance to read, and each cluster counts as one.
    """
    total, clusters = sum(pairs), len(pairs)
    share = sum(correct) / total
    residual = sum((c - share * n) ** 2 for c, n in zip(correct, pairs, strict=True))
    variance = residual / total**2 * clusters / max(clusters - 1, 1)
    worth = share * (1 - share) / variance if variance > 0 else float(clusters)
    low, high = wilson(share, min(worth, float(total)))
    return Accuracy(share, low, high, total, clusters)


def wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share seen over n independent trials."""
    middle = share + Z95**2 / (2 * n)
    reach = Z95 * sqrt(share * (1 - share) / n + Z95**2 / (4 * n * n))
    return max(0.0, (middle - reach) / (1 + Z95**2 / n)), min(1.0, (middle + reach) / (1 + Z95**2 / n))
