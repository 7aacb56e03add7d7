"""JSONL, CSV and pasted text as rows, each with its line and, where it can't be read, the reason."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app.core.errors import Invalid
from app.prompts.schemas import MAX_CHARACTERS

PROMPT_COLUMNS = {"prompt", "messages"}


class ImportFormat(StrEnum):
    jsonl = "jsonl"
    csv = "csv"
    text = "text"


@dataclass(frozen=True, slots=True)
class RawRow:
    number: int
    values: Any = None
    problem: str = ""


def guess_format(filename: str) -> ImportFormat:
    """The format that a file's name states; what states none is read as text, a prompt a line."""
    ending = filename.lower().rsplit(".", 1)[-1]
    if ending in {"jsonl", "json", "ndjson"}:
        return ImportFormat.jsonl
    return ImportFormat.csv if ending in {"csv", "tsv"} else ImportFormat.text


def read_rows(content: bytes, form: ImportFormat) -> list[RawRow]:
    """Every row of the file. A file that can't be read at all is Invalid; one bad row is only that."""
    text = decode(content)
    if not text.strip():
        raise Invalid("There is nothing in it.", mend="Choose a file with at least one prompt, or paste some.")
    readers = {ImportFormat.jsonl: _read_jsonl, ImportFormat.csv: _read_csv, ImportFormat.text: _read_text}
    return list(readers[form](text))


def decode(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise Invalid(
            f"The file is not UTF-8 text: line {line} has the byte 0x{content[error.start]:02x}.",
            mend="Save it as UTF-8 and try again.",
        ) from error


def _read_jsonl(text: str) -> Iterator[RawRow]:
    if text.lstrip().startswith("["):
        yield from _read_json_list(text)
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield RawRow(number, json.loads(line))
        except (json.JSONDecodeError, RecursionError) as error:
            yield RawRow(number, problem=f"is not JSON: {error}")


def _read_json_list(text: str) -> Iterator[RawRow]:
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise Invalid(f"It starts like a JSON list but is none: {error}.", mend="Mend it, or use JSONL.") from error
    yield from (RawRow(number, value) for number, value in enumerate(values, start=1))


def _read_csv(text: str) -> Iterator[RawRow]:
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    csv.field_size_limit(4 * MAX_CHARACTERS)
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter, strict=True)
    try:
        columns = {name.strip().lower() for name in reader.fieldnames or []}
        if not columns & PROMPT_COLUMNS:
            raise Invalid(
                f"The first line names no column `prompt` or `messages`; it names: {', '.join(sorted(columns))}.",
                mend="Put a header line first, such as: prompt,use_case,user,organisation",
            )
        for cells in reader:
            yield _csv_row(reader.line_num, cells)
    except csv.Error as error:
        raise Invalid(f"Line {reader.line_num} is not CSV: {error}.", mend="Check the quotes of that line.") from error


def _csv_row(number: int, cells: dict[Any, Any]) -> RawRow:
    if None in cells:
        return RawRow(number, problem="has more cells than the header has columns; does a comma need quotes around it?")
    values = {str(name).strip().lower(): cell for name, cell in cells.items()}
    if values.get("messages"):
        try:
            values["messages"] = json.loads(values["messages"])
        except (json.JSONDecodeError, RecursionError) as error:
            return RawRow(number, problem=f"its `messages` are not JSON: {error}")
    return RawRow(number, values)


def _read_text(text: str) -> Iterator[RawRow]:
    """A prompt a line; or, where a line `---` occurs, a prompt between two of those."""
    lines = text.split("\n")
    if not any(line.strip() == "---" for line in lines):
        yield from (RawRow(n, {"prompt": line.strip()}) for n, line in enumerate(lines, start=1) if line.strip())
        return
    start, block = 1, []
    for number, line in enumerate([*lines, "---"], start=1):
        if line.strip() != "---":
            block.append(line)
            continue
        if prompt := "\n".join(block).strip():
            yield RawRow(start, {"prompt": prompt})
        start, block = number + 1, []
