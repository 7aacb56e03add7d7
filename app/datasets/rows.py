"""A dataset's rows on their way between the tables and files."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

Row = dict[str, Any]
ROWS_AT_ONCE = 500


def in_batches(rows: Iterable[Row], size: int = ROWS_AT_ONCE) -> Iterator[list[Row]]:
    remaining = iter(rows)
    while batch := list(islice(remaining, size)):
        yield batch
