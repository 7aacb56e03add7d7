"""Krippendorff's alpha for ordered values: 1 is full agreement, 0 is what chance gives.

A unit is one completion of one item, its values what the labelers gave it. Ranks enter as places between 0 and 1, so
that the third of four and the third of nine are not taken for the same; tied completions share the mean of theirs.
"""

import uuid
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import permutations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from app.quality.agreement import Judged
from app.quality.intervals import Figure, middle

RESAMPLES = 500
Unit = tuple[uuid.UUID, Sequence[float]]  # the item it belongs to, and the values it was given
Numbers = npt.NDArray[np.float64]


class _Cells(NamedTuple):
    """The coincidences of all units, sparse: item's number, value's number, the other value's number, how many."""

    item: npt.NDArray[np.int64]
    value: npt.NDArray[np.int64]
    other: npt.NDArray[np.int64]
    weight: Numbers


def places(ranks: Mapping[uuid.UUID, int]) -> dict[uuid.UUID, float]:
    """Each completion's place between 0 (best) and 1 (worst); tied ones share the mean of theirs."""
    counts = Counter(ranks.values())
    middle_of, above = {}, 0
    for rank, count in sorted(counts.items()):
        middle_of[rank] = (above + count / 2) / len(ranks)
        above += count
    return {completion: middle_of[rank] for completion, rank in ranks.items()}


def units_of(judged: Iterable[Judged]) -> list[Unit]:
    """Every ranked completion with the places that its labelers gave it."""
    found: dict[tuple[uuid.UUID, uuid.UUID], list[float]] = defaultdict(list)
    for each in judged:
        for completion, place in places(each.ranks).items():
            found[each.item_id, completion].append(place)
    return [(item_id, values) for (item_id, _), values in found.items()]


def ordinal_alpha(units: Iterable[Unit], *, seed: int = 0) -> Figure | None:
    """Alpha over units with two values or more; none when there are none, or when all values are the same."""
    pairable = [unit for unit in units if len(unit[1]) > 1]
    domain = {
        value: number for number, value in enumerate(sorted({value for _, values in pairable for value in values}))
    }
    if len(domain) < 2:
        return None
    cells = _coincidences(pairable, domain)
    items = int(cells.item.max()) + 1
    value = _alpha(cells, np.ones(items), len(domain))
    assert value is not None, "there are two values or more"
    interval = _interval(cells, items, len(domain), seed=seed) if items > 1 else None
    return Figure(value, interval, sum(len(values) for _, values in pairable), items)


def _coincidences(units: Iterable[Unit], domain: Mapping[float, int]) -> _Cells:
    items: dict[Hashable, int] = {}
    rows = []
    for item, values in units:
        number = items.setdefault(item, len(items))
        pairs = Counter(permutations([domain[value] for value in values], 2))
        rows += [(number, value, other, count / (len(values) - 1)) for (value, other), count in pairs.items()]
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return _Cells(*columns)


def _alpha(cells: _Cells, drawn: Numbers, size: int) -> float | None:
    """Alpha with each item counted as often as it was drawn; none when only one value is left."""
    weight = cells.weight * drawn[cells.item]
    count = np.bincount(cells.value, weight, size)  # (V,)
    total = count.sum()
    # The ordinal distance of two values is the number of values between them: the gap of their mean ranks.
    rank = np.cumsum(count) - count / 2
    observed = (weight * (rank[cells.value] - rank[cells.other]) ** 2).sum()
    expected = 2 * (total * (count * rank**2).sum() - (count * rank).sum() ** 2) / (total - 1)
    return float(1 - observed / expected) if expected > 1e-9 * total else None


def _interval(cells: _Cells, items: int, size: int, *, seed: int) -> tuple[float, float] | None:
    generator = np.random.default_rng(seed)
    shares = np.full(items, 1 / items)
    drawn = (generator.multinomial(items, shares).astype(float) for _ in range(RESAMPLES))
    found = [alpha for each in drawn if (alpha := _alpha(cells, each, size)) is not None]
    return middle(np.array(found)) if found else None
