"""A file of labels as rows; in a table the lists and numbers of a row are cells of text."""

from typing import Any

from app.prompts.readers import ImportFormat, RawRow, parse_json, read_rows
from app.prompts.turns import is_conversation

# A text may begin like a list too: in these columns only a conversation is taken for one.
_SPOKEN = {"prompt", "chosen", "rejected", "completion", "messages", "conversations"}
_LISTED = {"completions", "responses", "ranks", "rankings", "models", "summaries", "info", "fields", "data",
           "annotations", "metadata"}  # fmt: skip


def label_rows(content: bytes, form: ImportFormat) -> list[RawRow]:
    rows = read_rows(content, form, needed=None)
    return [_of_cells(row) for row in rows] if form is ImportFormat.csv else rows


def _of_cells(row: RawRow) -> RawRow:
    if row.problem:
        return row
    return RawRow(row.number, {name: _value(name, cell) for name, cell in row.values.items()})


def _value(name: str, cell: Any) -> Any:
    if name == "choice" and cell in ("0", "1"):
        return int(cell)
    is_listed = name in _LISTED or name.endswith((".responses", ".responses.users", ".responses.status"))
    if not (is_listed or name in _SPOKEN) or not isinstance(cell, str) or not cell.startswith(("[", "{")):
        return cell
    try:
        value = parse_json(cell)
    except (ValueError, RecursionError):
        return cell
    return value if is_listed or is_conversation(value) else cell
