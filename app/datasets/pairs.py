"""A ranking as preference pairs: what comparisons of a ranking's completions say."""

from collections.abc import Iterator, Sequence
from itertools import combinations


def preference_pairs(ranks: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The positions (chosen, rejected) of every pair that the ranking orders; ties make no pair (section 3.5)."""
    for first, second in combinations(range(len(ranks)), 2):
        if ranks[first] != ranks[second]:
            yield (first, second) if ranks[first] < ranks[second] else (second, first)


def count_ties(ranks: Sequence[int]) -> int:
    """How many of the K(K-1)/2 comparisons are ties."""
    return sum(first == second for first, second in combinations(ranks, 2))
