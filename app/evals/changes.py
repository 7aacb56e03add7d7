"""How a benchmark's figure changed from one model to another: over the same items where both were measured on these."""

from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np

from app.benchmarks.catalogue import TRUE_PLAIN
from app.evals.results import Reached, item_scores
from app.evals.spread import PROMPTS_IF_ALIKE, Clusters, Floats, mean_of, quantile


@dataclass(frozen=True, slots=True)
class Change:
    """`after` less `before`, with its 95 % interval where there is one; `doubt`: why the two may not be comparable."""

    value: float
    low: float | None
    high: float | None
    is_paired: bool
    doubt: str = ""

    @property
    def has_interval(self) -> bool:
        return self.low is not None and self.high is not None

    @property
    def is_told(self) -> bool:
        """Whether the interval leaves out no change."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def change(before: Reached, after: Reached) -> Change:
    """Paired over the items where both have a score of each of the same items; else as of two samples of their own."""
    value, doubt = after.row.value - before.row.value, _doubt(before, after)
    one, other = _scores(before), _scores(after)
    if one is not None and other is not None and same_items(before, after):
        reach = paired_reach(one, other)
        return Change(value, *_around(value, reach), is_paired=True, doubt=doubt)
    reach = _unpaired(one, other) if one is not None and other is not None else _by_intervals(before, after)
    return Change(value, *_around(value, reach), is_paired=False, doubt=doubt)


def _scores(reached: Reached) -> Floats | None:
    """The items' scores, where the figure is their mean."""
    scores = item_scores(reached.row)
    is_mean = scores is not None and abs(float(scores.mean()) - reached.row.value) < 1e-4 * max(1, reached.row.value)
    return scores if is_mean else None


def paired_reach(before: Floats, after: Floats) -> float | None:
    """Half of the 95 % interval of the mean difference, (n,) each: Student's, of the items' differences. None for a
    single item; where every item differs alike, what as many of them leave possible (as of a share in `spread`)."""
    differences = after - before
    found = mean_of(differences, Clusters.each_alone(len(differences)))
    if found is None or len(differences) < 2:
        return None
    return found.high - found.mean if found.has_interval else PROMPTS_IF_ALIKE / (found.n + PROMPTS_IF_ALIKE)


def _unpaired(before: Floats, after: Floats) -> float | None:
    """The same of two samples (Welch 1947)."""
    sizes = np.array([len(before), len(after)])
    if sizes.min() < 2:
        return None
    parts = np.array([before.var(ddof=1), after.var(ddof=1)]) / sizes
    total = float(parts.sum())
    if not total:
        return PROMPTS_IF_ALIKE / (float(sizes.min()) + PROMPTS_IF_ALIKE)  # as of pairs
    return quantile(total**2 / float((parts**2 / (sizes - 1)).sum())) * sqrt(total)


def _by_intervals(before: Reached, after: Reached) -> float | None:
    """Where items have no scores of their own, as for BLEU: both figures' own intervals, added as of two samples."""
    halves = [(each.row.high - each.row.low) / 2 for each in (before, after)
              if each.row.low is not None and each.row.high is not None]  # fmt: skip
    return sqrt(sum(half**2 for half in halves)) if len(halves) == 2 else None


def _around(value: float, reach: float | None) -> tuple[float | None, float | None]:
    return (None, None) if reach is None or not isfinite(reach) else (value - reach, value + reach)


def same_items(before: Reached, after: Reached) -> bool:
    """Of the same data as many: all of them in one of the two, so in both; or both drawn alike by the same seed."""
    if (before.row.data_sha256, before.row.n) != (after.row.data_sha256, after.row.n):
        return False
    if _has_all(before) or _has_all(after):
        return True
    one, other = ((each.run.seed, each.run.config.get("items")) for each in (before, after))
    return one == other


def _has_all(reached: Reached) -> bool:
    """Whether the run drew no part of the data: told to take all, or more than there are. A metric of only some of the
    items doesn't show the latter."""
    items = reached.run.config.get("items") or 0
    return not items or (reached.row.n < items and reached.row.metric != TRUE_PLAIN.key)


def _doubt(before: Reached, after: Reached) -> str:
    """What differs between the two but the model."""
    said = []
    for name, words in (("data_sha256", "other data"), ("task", "another version of the task"),
                        ("scorer", "another scorer")):  # fmt: skip
        if getattr(before.row, name) != getattr(after.row, name):
            said.append(words)
    said += _decoded_otherwise(before, after)
    if before.row.data_sha256 == after.row.data_sha256 and not same_items(before, after):
        said.append("other items")
    if before.row.few_shot and before.run.seed != after.run.seed:
        said.append("other examples")
    return ", ".join(said)


def _decoded_otherwise(before: Reached, after: Reached) -> list[str]:
    """Each setting that differs, and how."""
    one, other = before.row.decoding, after.row.decoding
    return [
        f"{name.replace('_', ' ')} {one.get(name, 'unset')} before and {other.get(name, 'unset')} after"
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    ]
