"""Best-of-n's numbers against every subset, and against an integral."""

import itertools
import math

import pytest

from workers.rlhf.best_of_n import expected_best, kl_bound, powers_up_to

pytestmark = pytest.mark.train

REWARDS = [0.3, -1.2, 2.0, 0.7, 2.0, -0.4, 1.1]


@pytest.mark.parametrize("n", range(1, len(REWARDS) + 1))
def test_the_expected_best_is_the_mean_over_all_subsets(n: int) -> None:
    best = [max(subset) for subset in itertools.combinations(REWARDS, n)]
    assert expected_best(REWARDS, n) == pytest.approx(sum(best) / len(best))


def test_the_best_of_more_than_was_drawn_is_not_made_up() -> None:
    with pytest.raises(AssertionError, match="the best of 8 needs as many draws, not 7"):
        expected_best(REWARDS, 8)


@pytest.mark.parametrize("n", [1, 2, 4, 64])
def test_the_kl_bound_is_that_of_completions_all_different(n: int) -> None:
    """The best of n has density n u^(n - 1) over the quantile u of the reward; KL is the integral of p log p."""
    points = 200_000
    density = [n * ((i + 0.5) / points) ** (n - 1) for i in range(points)]
    integral = sum(p * math.log(p) for p in density if p) / points
    assert kl_bound(n) == pytest.approx(integral, abs=1e-3)


def test_a_curve_has_the_powers_of_two_and_its_end() -> None:
    assert [powers_up_to(n) for n in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]
