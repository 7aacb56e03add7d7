from hypothesis import given
from hypothesis import strategies as st

from app.datasets.pairs import count_ties, preference_pairs


def test_a_ranking_of_four_makes_six_pairs() -> None:
    assert list(preference_pairs([2, 1, 4, 3])) == [(1, 0), (0, 2), (0, 3), (1, 2), (1, 3), (3, 2)]


def test_ties_make_no_preference_pair() -> None:
    assert list(preference_pairs([1, 1, 1])) == []
    assert list(preference_pairs([1, 2, 2])) == [(0, 1), (0, 2)]
    assert count_ties([1, 2, 2]) == 1


@given(st.lists(st.integers(1, 9), min_size=2, max_size=9))
def test_pairs_and_ties_are_all_comparisons_and_agree_with_the_ranks(ranks: list[int]) -> None:
    pairs = list(preference_pairs(ranks))
    assert len(pairs) + count_ties(ranks) == len(ranks) * (len(ranks) - 1) // 2
    assert all(ranks[chosen] < ranks[rejected] for chosen, rejected in pairs)
    assert len({frozenset(pair) for pair in pairs}) == len(pairs)
