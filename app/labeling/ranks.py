"""Ranks: 1 is best, equal is a tie."""

from collections.abc import Hashable, Mapping
from typing import TypeVar

K = TypeVar("K", bound=Hashable)


def dense(ranks: Mapping[K, int]) -> dict[K, int]:
    """The same order and ties with ranks 1, 2, 3, ... and no gap: 1 1 3 becomes 1 1 2."""
    places = {rank: place for place, rank in enumerate(sorted(set(ranks.values())), start=1)}
    return {key: places[rank] for key, rank in ranks.items()}


def in_words(ranks: Mapping[str, int]) -> str:
    """`A = C > B > D`, best first, ties in the order of their letters."""
    tiers = sorted(set(ranks.values()))
    return " > ".join(" = ".join(sorted(letter for letter, rank in ranks.items() if rank == tier)) for tier in tiers)
