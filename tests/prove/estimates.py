"""Means over groups whose members are alike."""

from collections.abc import Hashable, Iterable

import numpy as np

from app.evals.reading import Numbers
from app.evals.spread import Clusters, Estimate, mean_of


def clustered_mean(points: Iterable[tuple[Hashable, float]]) -> Estimate:
    """Of (group, value); its interval allows for other groups."""
    groups, values = zip(*points, strict=True)
    found = mean_of(
        np.array(values, dtype=float), Clusters(Numbers().of(groups), np.zeros(len(values), dtype=np.int64))
    )
    assert found is not None
    return found
