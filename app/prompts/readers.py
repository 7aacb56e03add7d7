"""JSONL, CSV, Parquet and pasted text as rows, each with its line and, where it can't be read, the reason."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Any, BinaryIO

from app.core.errors import Invalid
from app.core.spreadsheet import unguarded
from app.prompts.streams import LONGEST_LINE, decoded, lines_of, lines_with_ends

PROMPT_COLUMNS = {"prompt", "messages"}
LONGEST_CELL = LONGEST_LINE  # of one row no cell is longer than a line can be
MOST_LEVELS = 200  # of lists and objects in one another
# What our own exports have: in these, cells are guarded against spreadsheets.
OF_OURS, OUR_TEXTS = "prompt_id", ["text", "source", "split"]
LONGEST_LIST = 64 * 2**20  # characters of one JSON list, which is read whole
_PARQUET = b"PAR1"


class ImportFormat(StrEnum):
    jsonl = "jsonl"
    csv = "csv"
    text = "text"
    parquet = "parquet"


@dataclass(frozen=True, slots=True)
class RawRow:
    number: int
    values: Any = None
    problem: str = ""


def guess_format(filename: str, head: bytes = b"") -> ImportFormat:
    """The format that a file's first bytes or its name state; what states none is read as text, a prompt a line."""
    ending = filename.lower().removesuffix(".gz").rsplit(".", 1)[-1]
    if head.startswith(_PARQUET) or ending in {"parquet", "pq"}:
        return ImportFormat.parquet
    if ending in {"jsonl", "json", "ndjson"}:
        return ImportFormat.jsonl
    return ImportFormat.csv if ending in {"csv", "tsv"} else ImportFormat.text


def guess_pasted(text: str) -> ImportFormat:
    """JSON by how it begins, else a prompt a line."""
    return ImportFormat.jsonl if text.lstrip().startswith(("{", "[")) else ImportFormat.text


def read_rows(content: bytes, form: ImportFormat, *, needed: set[str] | None = PROMPT_COLUMNS) -> list[RawRow]:
    """Every row of a file that is in memory. One that can't be read at all is Invalid; one bad row is only that."""
    if not content.strip():
        raise nothing_in_it()
    return list(iterate_rows(io.BytesIO(content), form, needed=needed, limit="upload_mib"))


def nothing_in_it() -> Invalid:
    return Invalid("There is nothing in it.", mend="Choose a file with at least one prompt, or paste some.")


def iterate_rows(
    file: BinaryIO, form: ImportFormat, *, needed: set[str] | None = None, limit: str = "prompt_unpacked_mib"
) -> Iterator[RawRow]:
    """The rows of a file that can be wound back, as they are read. `needed`: of these a CSV must have a column. `limit`
    names the setting that says how much packed columns may unpack to."""
    if form is ImportFormat.csv:
        yield from _read_csv(file, needed)
    elif form is ImportFormat.parquet:
        from app.prompts.parquet_rows import read_parquet  # it reads rows as this module does

        yield from read_parquet(file, limit)
    else:
        yield from _read_jsonl(file) if form is ImportFormat.jsonl else _read_text(file)


def decode(content: bytes) -> str:
    return "".join(decoded(io.BytesIO(content)))


def _read_jsonl(file: BinaryIO) -> Iterator[RawRow]:
    first = next((line for line in lines_of(file) if line is None or line.strip()), "")
    if first is not None and first.lstrip().startswith("["):
        yield from _read_json_list(file)
        return
    for number, line in enumerate(lines_of(file), start=1):
        if line is None or line.strip():
            yield _json_row(number, line)


def _json_row(number: int, line: str | None) -> RawRow:
    if line is None:
        return RawRow(number, problem=f"is longer than {LONGEST_LINE:,} characters")
    try:
        return RawRow(number, parse_json(line))
    except (ValueError, RecursionError) as error:
        return RawRow(number, problem=f"is not JSON: {error}")


def parse_json(text: str) -> Any:
    """JSON whose objects name nothing twice: which of the two was meant cannot be known. And no deeper than what comes
    after can follow."""
    value = _strict.decode(text)
    if text.count("[") + text.count("{") > MOST_LEVELS and _is_deep(value):
        raise ValueError(f"it is nested in more than {MOST_LEVELS} levels")
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MOST_LEVELS):
        inside = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list))
        level = [each for values in inside for each in values]
    return any(isinstance(each, dict | list) for each in level)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object names {twice[:80]!r} twice")
    return found


_strict = json.JSONDecoder(object_pairs_hook=_object)


def _read_json_list(file: BinaryIO) -> Iterator[RawRow]:
    text = ""
    for block in decoded(file):
        text += block
        if len(text) > LONGEST_LIST:
            raise Invalid(f"It is one JSON list of more than {LONGEST_LIST // 2**20} MiB.", mend="Make it JSONL.")
    try:
        values = parse_json(text.strip())
    except (ValueError, RecursionError) as error:
        raise Invalid(f"It starts like a JSON list but is none: {error}.", mend="Mend it, or use JSONL.") from error
    yield from (RawRow(number, value) for number, value in enumerate(values, start=1))


def _cells(file: BinaryIO) -> Iterator[str]:
    for number, line in enumerate(lines_with_ends(file), start=1):
        if line is None:
            raise Invalid(f"Line {number} is longer than {LONGEST_LINE:,} characters.", mend="Check its quotes.")
        yield line


def _read_csv(file: BinaryIO, needed: set[str] | None) -> Iterator[RawRow]:
    header = next(_cells(file), "")
    delimiter = max(",;\t", key=header.count)
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.DictReader(_cells(file), delimiter=delimiter, strict=True)
    try:
        names = [name.strip().lower() for name in reader.fieldnames or []]
        _check_header(names, needed)
        for cells in reader:
            yield _csv_row(reader.line_num, cells, is_guarded=OF_OURS in names or names == OUR_TEXTS)
    except csv.Error as error:
        raise Invalid(f"Line {reader.line_num} is not CSV: {error}.", mend="Check the quotes of that line.") from error


def _check_header(names: list[str], needed: set[str] | None) -> None:
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise Invalid(f"The first line names `{twice[0]}` twice.", mend="Give each column a name of its own.")
    if needed and not needed & set(names):
        raise Invalid(
            f"The first line names no column {' or '.join(f'`{name}`' for name in sorted(needed, reverse=True))}; "
            f"it names: {', '.join(sorted(names))}.",
            mend="Put a header line first, such as: prompt,use_case,user,organisation"
            if "prompt" in needed
            else "Put a header line first.",
        )


def _csv_row(number: int, cells: dict[Any, Any], *, is_guarded: bool) -> RawRow:
    if None in cells:
        return RawRow(number, problem="has more cells than the header has columns; does a comma need quotes around it?")
    if None in cells.values():
        return RawRow(number, problem="has fewer cells than the header has columns; is the file cut off?")
    values = {str(name).strip().lower(): cell for name, cell in cells.items()}
    if is_guarded:
        values = {name: unguarded(cell) for name, cell in values.items()}
    if values.get("messages"):
        try:
            values["messages"] = parse_json(values["messages"])
        except (ValueError, RecursionError) as error:
            return RawRow(number, problem=f"its `messages` are not JSON: {error}")
    return RawRow(number, values)


def _read_text(file: BinaryIO) -> Iterator[RawRow]:
    """A prompt a line; or, where a line `---` occurs, a prompt between two of those."""
    if not any(line is not None and line.strip() == "---" for line in lines_of(file)):
        yield from (
            _text_row(n, line) for n, line in enumerate(lines_of(file), start=1) if line is None or line.strip()
        )
        return
    start = 1
    block: list[str | None] = []
    for number, line in enumerate(chain(lines_of(file), ["---"]), start=1):
        if line is None or line.strip() != "---":
            block.append(line)
            continue
        yield from _block_row(start, block)
        start, block = number + 1, []


def _block_row(number: int, block: list[str | None]) -> Iterator[RawRow]:
    lines = [line for line in block if line is not None]
    if len(lines) < len(block):
        yield _text_row(number, None)
    elif any(line.strip() for line in lines):
        yield _text_row(number, "\n".join(lines))


def _text_row(number: int, text: str | None) -> RawRow:
    if text is None:
        return RawRow(number, problem=f"is longer than {LONGEST_LINE:,} characters")
    return RawRow(number, {"prompt": text.strip()})
