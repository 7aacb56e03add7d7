"""Intervals that allow for other prompts and other labelers: closed forms, and how often they hold in made worlds."""

from math import erf, isnan, sqrt

import numpy as np
import pytest

from app.evals.spread import Clusters, mean_of, quantile, share_of

WORLDS = 1000


def clusters(prompts: list[int], labelers: list[int]) -> Clusters:
    return Clusters(np.array(prompts), np.array(labelers))


def test_a_judgment_a_prompt_by_one_labeler_is_the_textbooks_standard_error() -> None:
    values = np.array([3.0, 5.0, 4.0, 7.0, 6.0, 2.0])
    found = mean_of(values, clusters(list(range(6)), [0] * 6))
    assert found is not None
    assert found.mean == pytest.approx(4.5)
    assert sqrt(found.spread.variance) == pytest.approx(values.std(ddof=1) / sqrt(6))
    assert (found.high - found.mean) == pytest.approx(2.5706 * values.std(ddof=1) / sqrt(6), rel=1e-3)  # t of 5


def test_what_is_said_twice_of_each_prompt_is_no_more_evidence() -> None:
    once = mean_of(np.array([1.0, 0.0, 1.0, 1.0]), clusters([0, 1, 2, 3], [0, 0, 0, 0]))
    twice = mean_of(np.array([1.0, 0.0, 1.0, 1.0] * 2), clusters([0, 1, 2, 3] * 2, [0] * 8))
    assert once is not None
    assert twice is not None
    assert twice.spread.variance == pytest.approx(once.spread.variance)


def test_labelers_who_differ_widen_it_however_many_prompts_they_see() -> None:
    prompts, labelers = np.repeat(np.arange(2000), 4), np.tile(np.arange(4), 2000)
    values = np.where(labelers < 2, 0.9, 0.1)  # two of them always say one thing
    found = mean_of(values, Clusters(prompts, labelers))
    assert found is not None
    assert found.spread.of_labelers == pytest.approx(0.4**2 / 3, rel=1e-3)
    assert found.high - found.low > 0.7


def test_one_prompt_says_nothing_of_others() -> None:
    found = share_of(np.array([1.0, 0.0, 1.0]), clusters([0, 0, 0], [0, 1, 2]))
    assert found is not None
    assert isnan(found.low)
    assert not found.has_interval
    assert share_of(np.array([]), clusters([], [])) is None


@pytest.mark.parametrize(("said", "low", "high"), [(1.0, 0.839, 1.0), (0.0, 0.0, 0.161)])
def test_where_all_agree_the_interval_is_what_so_many_prompts_leave_possible(
    said: float, low: float, high: float
) -> None:
    found = share_of(np.full(20, said), clusters(list(range(20)), [0, 1] * 10))
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))


def test_where_all_are_tied_the_interval_goes_both_ways() -> None:
    found = share_of(np.full(4, 0.5), clusters([0, 1, 2, 3], [0] * 4))
    assert found is not None
    assert found.low == pytest.approx(1 - found.high)
    assert found.low < 0.1


def test_a_mean_that_all_prompts_share_has_no_interval() -> None:
    found = mean_of(np.full(3, 5.0), clusters([0, 1, 2], [0] * 3))
    assert found is not None
    assert not found.has_interval


def test_a_share_stays_between_none_and_all() -> None:
    values = np.array([1.0] * 97 + [0.0] * 3)
    found = share_of(values, clusters(list(range(100)), [0] * 100))
    assert found is not None
    assert 0.9 < found.low < 0.97 < found.high < 1


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (10, 2.228), (30, 2.042), (1e9, 1.960)],
)
def test_students_quantiles_are_the_tables(freedom: float, expected: float) -> None:
    assert quantile(freedom) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize(
    ("prompts", "labelers", "each", "lean", "of_prompt", "of_labeler", "tie"),
    [
        (100, 10, 3, 0.5, 0.7, 0.3, 0.1),
        (200, 5, 3, 0.3, 0.7, 0.4, 0.1),  # few labelers who differ
        (400, 12, 1, 1.5, 0.5, 0.2, 0.0),  # 90 %
        (1000, 15, 1, -1.9, 0.5, 0.3, 0.0),  # 5 %, as flags are
    ],
)
def test_the_interval_holds_in_93_to_97_of_100_made_worlds(
    prompts: int, labelers: int, each: int, lean: float, of_prompt: float, of_labeler: float, tie: float
) -> None:
    """A judgment: a lean, what the prompt adds, what the labeler adds, and chance; above `tie` it is a win."""
    rng, wide = np.random.default_rng(1), sqrt(1 + of_prompt**2 + of_labeler**2)
    true = sum(0.25 * (1 + erf((lean + sign * tie) / wide / sqrt(2))) for sign in (1, -1))
    of = np.repeat(np.arange(prompts), each)
    held = 0
    for _ in range(WORLDS):
        by = rng.permuted(np.tile(np.arange(labelers), (prompts, 1)), axis=1)[:, :each].ravel()
        lean_here = lean + rng.normal(0, of_prompt, prompts)[of] + rng.normal(0, of_labeler, labelers)[by]
        felt = lean_here + rng.normal(size=len(of))
        found = share_of(np.where(felt > tie, 1.0, np.where(felt < -tie, 0.0, 0.5)), Clusters(of, by))
        assert found is not None
        held += found.low <= true <= found.high
    assert 0.93 <= held / WORLDS <= 0.97
