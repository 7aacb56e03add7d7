"""CSV that a spreadsheet opens without running anything."""

import csv
import io
from collections.abc import Iterable, Sequence

_RUNS = ("=", "+", "-", "@")


def csv_of(columns: Sequence[str] | None, rows: Iterable[Sequence[object]]) -> str:
    """The lines, below those that name the columns; without `columns`, more lines of the same."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    if columns is not None:
        writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return text.getvalue()


def _cell(value: object) -> object:
    """A text that a spreadsheet would take for a formula gets an apostrophe in front; numbers stay numbers."""
    if isinstance(value, str) and (value.startswith(("\t", "\r")) or value.lstrip().startswith(_RUNS)):
        return f"'{value}"
    return round(value, 4) if isinstance(value, float) else value
