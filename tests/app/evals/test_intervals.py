"""Intervals against simulation."""

import math

import numpy as np

from app.evals.intervals import clustered_mean
from app.evals.service import preference


def test_interval_covers_the_truth_about_95_percent_of_the_time() -> None:
    """200 simulated worlds of 60 prompts, 3 judgments each that share a prompt effect: 95 % ± 5 are covered."""
    rng, covered, worlds = np.random.default_rng(7), 0, 200
    for world in range(worlds):
        chances = rng.beta(4, 2, size=60)  # mean 2/3
        values = [(p, float(rng.random() < chance)) for p, chance in enumerate(chances) for _ in range(3)]
        estimate = clustered_mean(values, seed=world)
        assert estimate is not None
        covered += estimate.low <= 2 / 3 <= estimate.high
    assert 0.90 <= covered / worlds <= 0.99


def test_one_prompt_gives_a_mean_without_bounds() -> None:
    estimate = clustered_mean([("p", 1.0), ("p", 0.0)])
    assert estimate is not None
    assert (estimate.mean, estimate.n, math.isnan(estimate.low)) == (0.5, 2, True)


def test_no_values_give_no_estimate() -> None:
    assert clustered_mean([]) is None


def test_a_tie_counts_half_and_rank_one_is_best() -> None:
    assert preference([1], [2]) == 1.0
    assert preference([2], [1]) == 0.0
    assert preference([1], [1]) == 0.5
    assert preference([1, 3], [2]) == 0.5
