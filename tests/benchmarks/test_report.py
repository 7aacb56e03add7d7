"""The tables that the benchmark prints."""

import math

from benchmarks.report import Row, compare, heading, spread
from benchmarks.rounds import Round
from benchmarks.stored import Stored


def row(*, cycles: int, seconds: float, doubles: int = 0, refused: int = 0) -> Row:
    done = Round(8, next=[seconds] * cycles, submit=[2 * seconds] * cycles, cycles=cycles, seconds=10, refused=refused)
    done.acknowledged = {str(n): {} for n in range(cycles)}
    return Row("sqlite, page", done, Stored(doubles, lost=0))


def test_percentiles_are_milliseconds_and_of_nothing_none() -> None:
    assert spread([n / 1000 for n in range(100)]) == [50, 95, 99]
    assert all(map(math.isnan, spread([])))


def test_a_row_has_a_cell_for_each_column() -> None:
    line = str(row(cycles=100, seconds=0.25, doubles=3, refused=2))
    assert line.count("|") == heading().splitlines()[0].count("|")
    assert "| 10.0 | 250 / 250 / 250 | 500 / 500 / 500 | 3, 0 of 100, 2 |" in line


def test_both_sides_are_compared_level_by_level() -> None:
    lines = compare("sqlite", [row(cycles=100, seconds=0.1)], [row(cycles=5, seconds=2, doubles=1)]).splitlines()
    assert lines[2:] == [
        "| sqlite | 8 | cycles/s | 10.0 | 0.5 | 20.0 |",
        "| sqlite | 8 | next p50 / p95 / p99 ms | 100 / 100 / 100 | 2,000 / 2,000 / 2,000 | 20.0 / 20.0 / 20.0 |",
        "| sqlite | 8 | submit p50 / p95 / p99 ms | 200 / 200 / 200 | 4,000 / 4,000 / 4,000 | 20.0 / 20.0 / 20.0 |",
        "| sqlite | 8 | done twice, lost, refused | 0, 0, 0 of 100 | 1, 0, 0 of 5 | |",
    ]


def test_a_level_in_which_nothing_ended_is_still_a_row() -> None:
    assert "nan / nan / nan" in compare("sqlite", [row(cycles=1, seconds=1)], [row(cycles=0, seconds=1)])
