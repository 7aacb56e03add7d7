"""Reads a foreign Parquet file in a process of its own, with bounded memory and time, and tells its rows as JSON lines.

A few kilobytes of Parquet can unpack to terabytes, declare what is not there, or nest so deep that the library that
reads them crashes: all that ends this process and no other. `parquet_rows` starts it. It imports nothing of ours, reads
the file from its standard input, and writes a line for each row: `r` and the row, or `p` and why it can't be read; at
last `.`, or `x` and why the file can't be.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_AT_ONCE = 100
ROWS_IN_PYTHON = 10
PATIENCE = 60  # seconds of silence; one alarm then ends the process, whatever it is in
_BUFFER = 2**20  # read so much of a column at a time, not its whole row group


class Refused(Exception):
    """Why the file can't be read, and how to mend it."""


def main(memory: int, most_bytes: int, longest: int, setting: str) -> None:
    """Limits: bytes beside what this process has now, bytes of all rows (which this setting states), characters of a
    row."""
    large = (f"Unpacked, the file is larger than {most_bytes // 2**20:,} MiB.", f"Split it, or ask to raise {setting}.")
    _limit(memory)
    out = os.fdopen(1, "wb", buffering=2**16)
    try:
        size = 0
        table = _open(sys.stdin.buffer)
        groups = (table.metadata.row_group(number) for number in range(table.num_row_groups))
        if sum(group.total_byte_size for group in groups) > most_bytes:  # as its writer says
            raise Refused(*large)
        for line in _lines(table, longest):
            size += len(line)
            if size > most_bytes:
                raise Refused(*large)
            _tell(out, line)
        _tell(out, b".\n")
    except Refused as refused:
        _tell(out, _refusal(*refused.args))
    except MemoryError:
        told = f"Reading the file takes more than {memory // 2**20:,} MiB of memory."
        mend = (
            "Write it with shorter cells and smaller pages, send it as JSONL, or ask to raise TOUCHSTONE_PARQUET_MIB."
        )
        _tell(out, _refusal(told, mend))
    except (pa.ArrowException, OSError, EOFError, ValueError, RecursionError) as error:
        _tell(out, _refusal(f"The file can't be read as Parquet: {str(error)[:300]}.", "Write it anew."))
    signal.alarm(PATIENCE)
    out.flush()


def _limit(memory: int) -> None:
    """What is there before the first byte is read does not count. Only Linux says how much that is, and heeds it."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return
    now = int(statm.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + memory, now + memory))


def _tell(out: BinaryIO, line: bytes) -> None:
    """However long whoever listens takes with it, that is no silence of ours."""
    signal.alarm(0)
    out.write(line)
    signal.alarm(PATIENCE)


def _refusal(message: str, mend: str) -> bytes:
    return b"x" + json.dumps([message, mend]).encode() + b"\n"


def _open(file: BinaryIO) -> pq.ParquetFile:
    signal.alarm(PATIENCE)
    file.seek(0)
    table = pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False)
    names = table.schema_arrow.names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Refused(f"The file has two columns `{twice[0]}`.", "Give each column a name of its own.")
    return table


def _lines(table: pq.ParquetFile, longest: int) -> Iterator[bytes]:
    for batch in table.iter_batches(ROWS_AT_ONCE, use_threads=False):
        for start in range(0, batch.num_rows, ROWS_IN_PYTHON):
            for row in _values(batch.slice(start, ROWS_IN_PYTHON)):
                yield _line(row, longest)


def _values(rows: pa.RecordBatch) -> Iterator[dict[str, Any] | str]:
    try:
        yield from rows.to_pylist()
    except ValueError as error:  # a text that is no text, or a field that is there twice: whose row is it?
        if rows.num_rows == 1:
            yield f"can't be read: {str(error)[:200]}"
            return
        for number in range(rows.num_rows):
            yield from _values(rows.slice(number, 1))


def _line(row: dict[str, Any] | str, longest: int) -> bytes:
    if isinstance(row, str):
        return b"p" + row.encode(errors="replace").replace(b"\n", b" ") + b"\n"
    try:
        said = json.dumps(row, ensure_ascii=False, default=_plain)
    except RecursionError:
        return b"pis nested too deep\n"
    if len(said) > longest:
        return f"pis longer than {longest:,} characters\n".encode()
    return b"r" + said.encode(errors="replace") + b"\n"


def _plain(value: Any) -> Any:
    """What JSON has no word for. Some programs write texts as bytes."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"bytes": len(value)}
    return value.isoformat() if isinstance(value, date | datetime | time) else str(value)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
