"""Accuracy over pairs, with an interval for clusters of them."""

import random

import pytest

from workers.training.accuracy import clustered_accuracy, wilson

pytestmark = pytest.mark.train


def test_wilson_agrees_with_a_published_example() -> None:
    # 81 of 263: Newcombe (1998), table I, method 3
    low, high = wilson(81 / 263, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


def test_independent_pairs_get_the_plain_interval() -> None:
    draws = [float(random.Random(i).random() < 0.7) for i in range(400)]
    seen = clustered_accuracy(draws, [1] * 400)
    low, high = wilson(seen.value, 400)
    assert seen.value == sum(draws) / 400
    assert (seen.low, seen.high) == pytest.approx((low, high), abs=1e-3)
    assert (seen.pairs, seen.clusters) == (400, 400)


def test_copies_of_a_pair_make_the_interval_no_narrower() -> None:
    draws = [float(random.Random(i).random() < 0.7) for i in range(100)]
    alone = clustered_accuracy(draws, [1] * 100)
    copied = clustered_accuracy([6 * draw for draw in draws], [6] * 100)
    assert copied.value == alone.value
    assert (copied.low, copied.high) == pytest.approx((alone.low, alone.high), abs=1e-3)


def test_the_interval_holds_the_truth_about_19_times_in_20() -> None:
    rng, held = random.Random(0), 0
    for _ in range(400):
        pairs, right = [6] * 40, []
        for n in pairs:
            own = min(max(rng.gauss(0.72, 0.15), 0), 1)  # pairs of one ranking share their difficulty
            right.append(float(sum(rng.random() < own for _ in range(n))))
        seen = clustered_accuracy(right, pairs)
        held += seen.low <= 0.717 <= seen.high
    assert 0.92 <= held / 400 <= 0.98


@pytest.mark.parametrize(("right", "value"), [([6.0, 6.0, 6.0], 1.0), ([0.0, 0.0, 0.0], 0.0), ([3.0, 3.0, 3.0], 0.5)])
def test_no_variance_is_no_certainty(right: list[float], value: float) -> None:
    seen = clustered_accuracy(right, [6, 6, 6])
    assert seen.value == value
    assert seen.high - seen.low > 0.5  # three clusters, so hardly anything is known
