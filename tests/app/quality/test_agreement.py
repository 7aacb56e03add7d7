"""Agreement between labelers: ties left out, whole items resampled."""

import uuid
from itertools import combinations
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.quality.agreement import Judged, Meeting, agreement, by_labeler, mean_tau, meetings, share_agreed

COMPLETIONS = [uuid.UUID(int=n) for n in range(9)]
MIRA, NOOR, INES = (uuid.UUID(int=100 + n) for n in range(3))


def judged(item: int, person: uuid.UUID, *ranks: int) -> Judged:
    return Judged(uuid.UUID(int=1000 + item), person, dict(zip(COMPLETIONS, ranks, strict=False)))


def share(*rankings: Judged) -> float | None:
    found = agreement(meetings(rankings))
    return found.value if found else None


def shares_by_labeler(found: list[Meeting]) -> dict[uuid.UUID, float]:
    measured = {person: agreement(theirs) for person, theirs in by_labeler(found).items()}
    return {person: each.value for person, each in measured.items() if each is not None}


def test_the_same_order_agrees_wholly_and_the_reverse_not_at_all() -> None:
    assert share(judged(1, MIRA, 1, 2, 3), judged(1, NOOR, 1, 2, 4)) == 1.0
    assert share(judged(1, MIRA, 1, 2, 3), judged(1, NOOR, 3, 2, 1)) == 0.0


def test_ties_of_either_labeler_are_left_out() -> None:
    found = agreement(meetings([judged(1, MIRA, 1, 1, 2), judged(1, NOOR, 1, 2, 2)]))
    assert found is not None
    assert (found.value, found.n) == (1.0, 1)


def test_nothing_to_compare_gives_no_figure() -> None:
    assert share(judged(1, MIRA, 1, 2)) is None
    assert share(judged(1, MIRA, 1, 2), judged(2, NOOR, 1, 2)) is None
    assert share(judged(1, MIRA, 1, 1), judged(1, NOOR, 1, 2)) is None


def test_one_items_agreement_is_over_the_pairs_that_neither_ties() -> None:
    assert share_agreed([judged(1, MIRA, 1, 2, 3), judged(1, NOOR, 1, 2, 2)]) == 1.0
    assert share_agreed([judged(1, MIRA, 1, 2, 3), judged(1, NOOR, 3, 2, 1)]) == 0.0
    assert share_agreed([judged(1, MIRA, 1, 2, 3), judged(1, NOOR, 1, 3, 2)]) == pytest.approx(2 / 3)
    assert share_agreed([judged(1, MIRA, 1, 1), judged(1, NOOR, 1, 2)]) is None
    assert share_agreed([judged(1, MIRA), judged(1, NOOR, 1, 2)]) is None  # who says that it can't be ranked
    assert share_agreed([judged(1, MIRA, 1, 2)]) is None
    assert share_agreed([]) is None


def test_only_completions_that_both_ranked_are_compared() -> None:
    one = Judged(uuid.UUID(int=1), MIRA, {COMPLETIONS[0]: 1, COMPLETIONS[1]: 2})
    other = Judged(uuid.UUID(int=1), NOOR, {COMPLETIONS[1]: 1, COMPLETIONS[2]: 2})
    assert share(one, other) is None


def test_each_labeler_is_compared_with_all_others() -> None:
    rankings = [judged(1, MIRA, 1, 2), judged(1, NOOR, 1, 2), judged(1, INES, 2, 1)]
    assert shares_by_labeler(list(meetings(rankings))) == {MIRA: 0.5, NOOR: 0.5, INES: 0.0}


def test_one_item_has_no_interval_and_more_items_narrow_it() -> None:
    def measured(items: int) -> tuple[float, float] | None:
        rankings = [
            each
            for n in range(items)
            for each in (judged(n, MIRA, 1, 2, 3), judged(n, NOOR, *((1, 2, 3), (3, 1, 2))[n % 2]))
        ]
        found = agreement(meetings(rankings))
        return found.interval if found else None

    few, many = measured(8), measured(400)
    assert measured(1) is None
    assert few is not None
    assert many is not None
    assert many[1] - many[0] < few[1] - few[0]
    assert many[0] < 2 / 3 < many[1]


def test_the_interval_rests_on_items_not_on_pairs() -> None:
    """Two items, one of full agreement and one of none: 36 pairs each are still only two draws."""
    order = list(range(1, 10))
    rankings = [
        judged(1, MIRA, *order),
        judged(1, NOOR, *order),
        judged(2, MIRA, *order),
        judged(2, NOOR, *order[::-1]),
    ]
    found = agreement(meetings(rankings))
    assert found is not None
    assert (found.value, found.interval, found.n, found.items) == (0.5, (0.0, 1.0), 72, 2)


def test_the_interval_is_the_same_each_time() -> None:
    rankings = [each for n in range(30) for each in (judged(n, MIRA, 1, 2), judged(n, NOOR, 1 + n % 2, 2 - n % 2))]
    assert agreement(meetings(rankings)) == agreement(meetings(rankings))


@given(st.lists(st.tuples(*[st.lists(st.integers(1, 4), min_size=4, max_size=4)] * 3), min_size=1, max_size=6))
def test_agreement_is_the_share_counted_one_by_one(items: list[tuple[list[int], ...]]) -> None:
    people = (MIRA, NOOR, INES)
    rankings = [judged(n, person, *item[who]) for n, item in enumerate(items) for who, person in enumerate(people)]
    same = total = 0
    for item in items:
        for one, other in combinations(item, 2):
            for i in range(4):
                for j in range(i):
                    if one[i] != one[j] and other[i] != other[j]:
                        total += 1
                        same += (one[i] < one[j]) == (other[i] < other[j])
    found = agreement(meetings(rankings))
    if total == 0:
        assert found is None
    else:
        assert found is not None
        assert found.value == pytest.approx(same / total)
        assert found.n == total
        assert found.interval is None or found.interval[0] <= found.value <= found.interval[1]


def slow_tau(one: list[int], other: list[int]) -> float | None:
    """Tau-b as it is defined, pair by pair."""
    concordant = discordant = tied_one = tied_other = tied_both = 0
    for i, j in combinations(range(len(one)), 2):
        mine, theirs = one[i] - one[j], other[i] - other[j]
        concordant += mine * theirs > 0
        discordant += mine * theirs < 0
        tied_one += mine == 0 and theirs != 0
        tied_other += theirs == 0 and mine != 0
        tied_both += mine == theirs == 0
    of_one, of_other = concordant + discordant + tied_other, concordant + discordant + tied_one
    return (concordant - discordant) / sqrt(of_one * of_other) if of_one * of_other else None


def test_tau_b_of_a_textbook() -> None:
    """Eight pairs alike, one not, one tied by the second: 7 / sqrt(10 × 9)."""
    found = mean_tau(meetings([judged(1, MIRA, 1, 2, 3, 4, 5), judged(1, NOOR, 2, 1, 3, 3, 5)]))
    assert found is not None
    assert found.value == pytest.approx(0.7378647873)


@given(st.lists(st.integers(1, 4), min_size=5, max_size=5), st.lists(st.integers(1, 4), min_size=5, max_size=5))
def test_tau_is_the_one_of_the_definition(one: list[int], other: list[int]) -> None:
    found, slow = mean_tau(meetings([judged(1, MIRA, *one), judged(1, NOOR, *other)])), slow_tau(one, other)
    assert (found is None) == (slow is None)
    assert found is None or found.value == pytest.approx(slow)


def test_tau_looks_only_at_what_both_ranked() -> None:
    one = Judged(uuid.UUID(int=1), MIRA, dict(zip(COMPLETIONS[:4], (1, 2, 3, 3), strict=True)))
    other = Judged(uuid.UUID(int=1), NOOR, dict(zip(COMPLETIONS[1:5], (1, 2, 3, 4), strict=True)))
    found = mean_tau(meetings([one, other]))
    assert found is not None
    assert found.value == pytest.approx(slow_tau([2, 3, 3], [1, 2, 3]))


def test_excluded_work_counts_in_no_ones_agreement_but_that_labelers_own() -> None:
    spam = Judged(uuid.UUID(int=1001), INES, dict(zip(COMPLETIONS, (2, 1), strict=False)), is_excluded=True)
    found = list(meetings([judged(1, MIRA, 1, 2), judged(1, NOOR, 1, 2), spam]))
    assert list(shares_by_labeler(found).values()) == [1.0, 1.0, 0.0]
    assert [each.is_excluded for each in found] == [False, True, True]
