"""Gold accuracy: pairs ordered as the known answer orders them."""

import uuid
from datetime import date
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.labeling.answers import compare_ranks
from app.quality.gold import GoldAnswer, gold_accuracy, gold_ranks
from tests.app.quality.test_agreement import COMPLETIONS, MIRA

MONDAY = date(2026, 1, 5)


def ranks(*given: int) -> dict[uuid.UUID, int]:
    return dict(zip(COMPLETIONS, given, strict=False))


def test_the_labelers_tie_is_not_alike_and_the_answers_tie_does_not_count() -> None:
    assert compare_ranks(ranks(1, 2, 2), ranks(1, 2, 3)) == (2, 2)
    assert compare_ranks(ranks(1, 2, 3), ranks(1, 1, 2)) == (2, 3)
    assert compare_ranks(ranks(1, 2, 3), ranks(3, 2, 1)) == (0, 3)


def test_what_the_labeler_left_unranked_is_not_alike() -> None:
    assert compare_ranks(ranks(1, 2, 3), ranks(1, 2)) == (1, 3)
    assert compare_ranks(ranks(1, 2), {}) == (0, 1)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=2, max_size=6))
def test_alike_is_counted_one_by_one(pairs: list[tuple[int, int]]) -> None:
    answer, mine = zip(*pairs, strict=True)
    slow = [(answer[i] < answer[j]) == (mine[i] < mine[j]) and mine[i] != mine[j]
            for i, j in combinations(range(len(pairs)), 2) if answer[i] != answer[j]]  # fmt: skip
    assert compare_ranks(ranks(*answer), ranks(*mine)) == (sum(slow), len(slow))


def test_accuracy_with_an_interval_over_items() -> None:
    answers = [GoldAnswer(uuid.UUID(int=n), MIRA, 3 * (n % 2), 3, MONDAY) for n in range(40)]
    found = gold_accuracy(answers)
    assert found is not None
    assert (found.value, found.n, found.items) == (0.5, 120, 40)
    assert found.interval is not None
    assert found.interval[0] == pytest.approx(0.5 - 1.96 * (0.25 / 40) ** 0.5, abs=0.03)
    assert gold_accuracy([]) is None


def test_an_answer_of_flags_alone_has_no_ranks() -> None:
    assert gold_ranks(None) == gold_ranks({"flags": {}}) == {}
    assert gold_ranks({"ranks": {str(COMPLETIONS[0]): 2}}) == {COMPLETIONS[0]: 2}
