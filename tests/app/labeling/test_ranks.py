"""Ranks and how they read."""

from string import ascii_uppercase

from hypothesis import given
from hypothesis import strategies as st

from app.labeling.ranks import dense, in_words

ranks = st.integers(2, 9).flatmap(
    lambda k: st.fixed_dictionaries({letter: st.integers(1, k) for letter in ascii_uppercase[:k]})
)


def test_gaps_are_closed_and_ties_kept() -> None:
    assert dense({"A": 1, "B": 3, "C": 1, "D": 4}) == {"A": 1, "B": 2, "C": 1, "D": 3}


def test_words_read_best_first_with_ties_by_letter() -> None:
    assert in_words({"C": 1, "A": 1, "B": 2, "D": 3}) == "A = C > B > D"
    assert in_words({}) == ""


@given(ranks)
def test_dense_ranks_order_every_pair_as_before(before: dict[str, int]) -> None:
    after = dense(before)
    assert sorted(set(after.values())) == list(range(1, len(set(before.values())) + 1))
    for one in before:
        for other in before:
            assert (before[one] < before[other]) == (after[one] < after[other])
            assert (before[one] == before[other]) == (after[one] == after[other])


@given(ranks)
def test_words_can_be_read_back_to_the_same_order(before: dict[str, int]) -> None:
    tiers = [tier.split(" = ") for tier in in_words(before).split(" > ")]
    read = {letter: place for place, tier in enumerate(tiers, start=1) for letter in tier}
    assert read == dense(before)
