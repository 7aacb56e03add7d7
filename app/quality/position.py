"""Position bias: whether what stood first on the page is ranked better than what stood last.

Completions are shuffled for every labeler, so without bias every position's mean place is the middle.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from itertools import count

from app.quality.alpha import places
from app.quality.intervals import Figure, clustered_figure

MIDDLE = 0.5
Shown = tuple[Sequence[uuid.UUID], Mapping[uuid.UUID, int]]  # the order on the page, and the ranks given


def mean_places(rankings: Iterable[Shown], *, positions: int | None = None, seed: int = 0) -> list[Figure]:
    """For each position on the page (or the first few), the mean place of what stood there: 0 is best, 1 worst."""
    columns: list[list[tuple[int, float, float]]] = []
    for number, (shown, ranks) in zip(count(), rankings, strict=False):
        found = places(ranks)
        for position, completion in enumerate(shown[:positions]):
            if position == len(columns):
                columns.append([])
            if completion in found:
                columns[position].append((number, found[completion], 1))
    figures = (clustered_figure(column, seed=seed) for column in columns)
    return [figure for figure in figures if figure is not None]
