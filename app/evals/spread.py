"""How far an estimate may be off, when judgments of one prompt, and those by one labeler, are alike.

Both are sampled: other prompts and other labelers would have given another figure. The variance is the one of sums over
prompts, and of those over labelers, less what both count (Cameron, Gelbach and Miller 2011, eq. 2.3), which needs no
resampling. Quantiles are Student's with the degrees of freedom that Satterthwaite's rule gives.
"""

from dataclasses import dataclass
from math import exp, inf, isfinite, log, nan, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.integer[Any]]

_Z = NormalDist().inv_cdf(0.975)
PROMPTS_IF_ALIKE = _Z**2  # Wilson's interval is as wide as if so many more prompts had said otherwise


@dataclass(frozen=True, slots=True)
class Clusters:
    """Which prompt each judgment is of and who made it, as numbers from 0, both (n,)."""

    prompts: Codes
    labelers: Codes

    def of(self, chosen: npt.NDArray[np.bool_]) -> "Clusters":
        return Clusters(self.prompts[chosen], self.labelers[chosen])

    @classmethod
    def each_alone(cls, n: int) -> "Clusters":
        """Of n things that are each of a prompt of their own, and that nobody judged."""
        return cls(np.arange(n), np.zeros(n, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Spread:
    """A variance, the part of it that only other labelers can make smaller, and its degrees of freedom."""

    variance: float
    of_labelers: float
    freedom: float

    @property
    def reach(self) -> float:
        """Half the width of the 95 % interval; nan where one prompt says nothing of others."""
        return quantile(self.freedom) * sqrt(self.variance) if isfinite(self.variance) else nan


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval, and what it rests on: `n` judgments of so many prompts by so many labelers."""

    mean: float
    low: float
    high: float
    n: int
    prompts: int
    labelers: int
    spread: Spread

    @property
    def has_interval(self) -> bool:
        return isfinite(self.low)

    @property
    def ends(self) -> tuple[float, ...]:
        """How far it reaches: its interval's ends, or itself where it has none."""
        return (self.low, self.high) if self.has_interval else (self.mean,)

    @property
    def interval_cells(self) -> tuple[float | str, float | str]:
        """Its interval as two cells of a table, empty where it has none."""
        return (self.low, self.high) if self.has_interval else ("", "")

    @classmethod
    def as_stored(
        cls, mean: float, low: float | None, high: float | None, *, n: int, prompts: int, labelers: int
    ) -> "Estimate":
        """One that was made earlier, of which no more than this was kept."""
        ends = (low, high) if low is not None and high is not None else (nan, nan)
        return cls(mean, *ends, n, prompts, labelers, Spread(nan, nan, nan))


def spread(influences: Floats, clusters: Clusters) -> Spread:
    """Of an estimate that each judgment moves by so much, (n,): their sum's spread."""
    of_prompts, prompts = _clustered(influences, clusters.prompts)
    of_labelers, labelers = _clustered(influences, clusters.labelers)
    both = clusters.prompts.astype(np.int64) * (clusters.labelers.max(initial=0) + 1) + clusters.labelers
    once, _ = _clustered(influences, np.unique(both, return_inverse=True)[1])
    if prompts < 2:
        return Spread(nan, nan, nan)
    if labelers < 2:  # nothing can be said of others
        return Spread(of_prompts, 0.0, prompts - 1)
    more = max(0.0, of_labelers - once)
    if not more:
        return Spread(max(of_prompts, 1e-300), 0.0, prompts - 1)
    variance = max(of_prompts + more, of_labelers)
    freedom = variance**2 / (min(variance, of_prompts) ** 2 / (prompts - 1) + of_labelers**2 / (labelers - 1))
    return Spread(variance, more, max(1.0, freedom))


def _clustered(influences: Floats, codes: Codes) -> tuple[float, int]:
    """The variance if only these clusters were drawn anew, and how many there are."""
    present = np.bincount(codes) > 0
    sums = np.bincount(codes, weights=influences)[present]
    count = len(sums)
    return (float((sums**2).sum()) * count / (count - 1) if count > 1 else nan), count


def mean_of(values: Floats, clusters: Clusters) -> Estimate | None:
    """The mean of judgments' values; none without any. No interval where all prompts say the same."""
    if not len(values):
        return None
    mean = float(values.mean())
    found = spread((values - mean) / len(values), clusters)
    reach = nan if is_alike(found) else found.reach
    return _estimate(mean, mean - reach, mean + reach, clusters, found)


def share_of(values: Floats, clusters: Clusters) -> Estimate | None:
    """The mean of values between 0 and 1, its interval between them too: it is symmetric in the log odds."""
    if not len(values):
        return None
    mean = float(values.mean())
    found = spread((values - mean) / len(values), clusters)
    low, high = share_interval(mean, found, prompts=len(np.unique(clusters.prompts)))
    return _estimate(mean, low, high, clusters, found)


def is_alike(found: Spread) -> bool:
    """Whether all prompts say the same, so that nothing is seen of how they differ."""
    return found.variance < 1e-20


def share_interval(mean: float, found: Spread, *, prompts: int) -> tuple[float, float]:
    """The interval of a share. Where all prompts agree: what as many of them leave possible (Wilson 1927, eq. 4)."""
    if not isfinite(found.variance):
        return nan, nan
    if 0 < mean < 1 and not is_alike(found):
        odds, reach = log(mean / (1 - mean)), found.reach / (mean * (1 - mean))
        return sigmoid(odds - reach), sigmoid(odds + reach)
    possible = PROMPTS_IF_ALIKE / (prompts + PROMPTS_IF_ALIKE)
    return max(0.0, mean - possible), min(1.0, mean + possible)


def _estimate(mean: float, low: float, high: float, clusters: Clusters, found: Spread) -> Estimate:
    prompts, labelers = (len(np.unique(each)) for each in (clusters.prompts, clusters.labelers))
    return Estimate(mean, low, high, len(clusters.prompts), prompts, labelers, found)


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x)) if x >= 0 else exp(x) / (1 + exp(x))


def quantile(freedom: float, z: float = _Z) -> float:
    """Student's quantile for the normal one `z` (Cornish and Fisher's expansion as in Abramowitz and Stegun 26.7.5)."""
    if freedom == inf:
        return z
    if freedom < 3:  # the expansion needs more; these are exact
        return _few(freedom)
    g1 = (z**3 + z) / 4
    g2 = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    g3 = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    g4 = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + g1 / freedom + g2 / freedom**2 + g3 / freedom**3 + g4 / freedom**4


def _few(freedom: float) -> float:
    """Between the exact quantiles of 1, 2 and 3 degrees of freedom, by their logarithms."""
    return float(np.exp(np.interp(freedom, [1, 2, 3], np.log([12.7062, 4.3027, 3.1824]))))
