"""Intervals by resampling clusters, and of a difference."""

import numpy as np
import pytest

from app.quality.intervals import clustered_figure, difference_interval


def test_a_figure_adds_up_its_clusters() -> None:
    found = clustered_figure([("a", 1, 2), ("a", 1, 1), ("b", 0, 3), ("c", 5, 0)])
    assert found is not None
    assert (found.value, found.n, found.items) == (2 / 6, 6, 2)
    assert found.interval == (0.0, 2 / 3)
    assert clustered_figure([("a", 0, 0)]) is None


def test_the_difference_of_two_shares_has_the_width_of_its_formula() -> None:
    before = [(float(n % 5 > 0), 1.0) for n in range(500)]  # 80 %
    after = [(float(n % 2), 1.0) for n in range(100)]  # 50 %
    found = difference_interval(before, after)
    assert found is not None
    half = 1.96 * np.sqrt(0.16 / 500 + 0.25 / 100)
    assert found == pytest.approx((-0.3 - half, -0.3 + half), abs=0.02)


def test_one_cluster_has_no_difference() -> None:
    assert difference_interval([(1, 2)], [(1, 2), (0, 2)]) is None
