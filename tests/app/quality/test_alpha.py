"""Krippendorff's alpha against the `krippendorff` package and the examples of its author."""

import uuid
from collections.abc import Sequence

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.quality.alpha import ordinal_alpha, places, units_of
from app.quality.intervals import Figure
from tests.app.quality.test_agreement import COMPLETIONS, MIRA, NOOR, judged

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), C: four observers, twelve units.
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


def measured(units: Sequence[Sequence[float]]) -> Figure | None:
    return ordinal_alpha((number, values) for number, values in enumerate(units))


def test_the_example_of_the_author() -> None:
    found = measured([[value for value in unit if value] for unit in zip(*OBSERVERS, strict=True)])
    assert found is not None
    assert found.value == pytest.approx(0.815, abs=5e-4)
    assert (found.n, found.items) == (40, 11)
    assert found.interval is not None
    assert found.interval[0] < found.value < found.interval[1]


# An interval is 500 alphas: on a machine that has other work to do, one example may take longer than any limit.
@settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, 7), max_size=5), min_size=1, max_size=12))
def test_alpha_is_the_packages(units: list[list[float]]) -> None:
    found = measured(units)
    values = sorted({value for unit in units if len(unit) > 1 for value in unit})
    if len(values) < 2:
        assert found is None
        return
    counts = np.array([[unit.count(value) for value in values] for unit in units if len(unit) > 1])
    expected = krippendorff.alpha(value_counts=counts, value_domain=values, level_of_measurement="ordinal")
    assert found is not None
    assert found.value == pytest.approx(expected)


def test_the_interval_resamples_items_with_all_their_units() -> None:
    """Each resampled alpha is that of the items drawn, as often as they were drawn."""
    generator = np.random.default_rng(1)
    units = [(item, generator.integers(1, 5, size=2).tolist()) for item in range(12) for _ in range(3)]
    found = ordinal_alpha(units, seed=3)
    assert found is not None
    slow = []
    draws = np.random.default_rng(3)
    for _ in range(500):
        drawn = draws.multinomial(12, np.full(12, 1 / 12))
        repeated = [values for item, values in units for _ in range(drawn[item])]
        counts = np.array([[values.count(value) for value in (1, 2, 3, 4)] for values in repeated])
        slow.append(krippendorff.alpha(value_counts=counts, level_of_measurement="ordinal"))
    assert found.interval == pytest.approx(np.percentile(slow, [2.5, 97.5]))


def test_no_alpha_without_two_values_to_compare() -> None:
    assert measured([]) is None
    assert measured([[1], [2]]) is None
    assert measured([[3, 3], [3, 3]]) is None


def test_places_share_what_tied_completions_would_have_had() -> None:
    a, b, c, d = COMPLETIONS[:4]
    assert places({a: 1, b: 2, c: 2, d: 3}) == {a: 0.125, b: 0.5, c: 0.5, d: 0.875}
    assert places({a: 4, b: 4}) == {a: 0.5, b: 0.5}


def test_rankings_become_units_by_completion() -> None:
    units = units_of([judged(1, MIRA, 1, 2), judged(1, NOOR, 2, 1), judged(2, MIRA, 1, 1)])
    assert [(item.int, values) for item, values in units if isinstance(item, uuid.UUID)] == [
        (1001, [0.25, 0.75]),
        (1001, [0.75, 0.25]),
        (1002, [0.5]),
        (1002, [0.5]),
    ]
