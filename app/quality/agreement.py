"""How far labelers agree: of two labelers' comparisons of the same two completions, the share that points the same way.

Comparisons in which either labeler sees a tie are left out, so chance is 50 % (Stiennon et al. 2020, C.2; the paper
reports 72.6 ± 1.5 % without its formula). The interval resamples whole items: an item's pairs are not independent.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from app.quality.intervals import resampled_interval

RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Judged:
    """One labeler's ranks of one item's completions; equal ranks are a tie."""

    item_id: uuid.UUID
    person_id: uuid.UUID
    ranks: Mapping[uuid.UUID, int]


@dataclass(frozen=True, slots=True)
class Agreement:
    """A share with its 95 % interval (none with fewer than two items), and what it rests on."""

    share: float
    interval: tuple[float, float] | None
    comparisons: int
    items: int


# (item, one labeler, the other, comparisons that agree, comparisons in all)
Meeting = tuple[uuid.UUID, uuid.UUID, uuid.UUID, int, int]


def meetings(judged: Iterable[Judged]) -> Iterator[Meeting]:
    """Every two labelers who ranked the same item, with how often they agree on it."""
    by_item: dict[uuid.UUID, list[Judged]] = defaultdict(list)
    for each in judged:
        by_item[each.item_id].append(each)
    for item_id, rankings in by_item.items():
        for one, other in combinations(rankings, 2):
            agreed, total = _compare(one.ranks, other.ranks)
            if total:
                yield item_id, one.person_id, other.person_id, agreed, total


def _compare(one: Mapping[uuid.UUID, int], other: Mapping[uuid.UUID, int]) -> tuple[int, int]:
    agreed = total = 0
    for first, second in combinations(sorted(one.keys() & other.keys()), 2):
        mine, theirs = one[first] - one[second], other[first] - other[second]
        if mine and theirs:
            total += 1
            agreed += (mine > 0) == (theirs > 0)
    return agreed, total


def agreement(found: Iterable[Meeting], *, seed: int = 0) -> Agreement | None:
    """Agreement over all meetings; none when no two labelers compared the same completions."""
    counts: dict[uuid.UUID, tuple[int, int]] = {}
    for item_id, _, _, agreed, total in found:
        before = counts.get(item_id, (0, 0))
        counts[item_id] = (before[0] + agreed, before[1] + total)
    if not counts:
        return None
    agreed, total = (sum(column) for column in zip(*counts.values(), strict=True))
    interval = resampled_interval(list(counts.values()), resamples=RESAMPLES, seed=seed)
    return Agreement(agreed / total, interval, total, len(counts))


def agreement_by_labeler(found: Sequence[Meeting], *, seed: int = 0) -> dict[uuid.UUID, Agreement]:
    """Each labeler's agreement with all the others."""
    of: dict[uuid.UUID, list[Meeting]] = defaultdict(list)
    for meeting in found:
        of[meeting[1]].append(meeting)
        of[meeting[2]].append(meeting)
    measured = {person_id: agreement(theirs, seed=seed) for person_id, theirs in of.items()}
    return {person_id: each for person_id, each in measured.items() if each is not None}
