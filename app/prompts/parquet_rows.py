"""Parquet as rows. Whoever sends a file may mean harm, so a process of its own reads it, within limits."""

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from app.core.config import get_settings
from app.core.errors import Invalid
from app.prompts.readers import RawRow, parse_json
from app.prompts.streams import LONGEST_LINE

READER = Path(__file__).with_name("parquet_reader.py")
_LONGEST_TOLD = 4 * LONGEST_LINE + 16  # bytes of the longest line
# Its memory is counted, so it must not be reserved ahead.
_THRIFTY = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"}


def read_parquet(file: BinaryIO, limit: str = "prompt_unpacked_mib") -> Iterator[RawRow]:
    """Every row, by the names of its columns. `limit` names the setting that says how much all of them may be."""
    with _on_disk(file) as stored, _reading(stored, limit) as process:
        assert process.stdout is not None
        number = 0
        while line := process.stdout.readline(_LONGEST_TOLD):
            kind, told = line[:1], line[1:].decode(errors="replace")
            if kind == b".":
                return
            if kind == b"x":
                message, mend = parse_json(told)
                raise Invalid(message, mend=mend)
            number += 1
            yield _row(number, kind, told)
        raise _died(process.wait())


def _row(number: int, kind: bytes, told: str) -> RawRow:
    if kind == b"p":
        return RawRow(number, problem=told.strip())
    try:
        return RawRow(number, parse_json(told))
    except (ValueError, RecursionError) as error:
        return RawRow(number, problem=f"can't be read: {error}")


def _died(code: int) -> Invalid:
    if code == -signal.SIGALRM:
        return Invalid("Reading the file as Parquet takes too long.", mend="Write it anew, in smaller row groups.")
    return Invalid(f"The file is no sound Parquet: reading it broke off ({code}).", mend="Write it anew.")


@contextmanager
def _on_disk(file: BinaryIO) -> Iterator[BinaryIO]:
    """The file as another process can read it: itself, or a copy."""
    file.seek(0)
    try:
        file.fileno()
    except (AttributeError, io.UnsupportedOperation, OSError):
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy)
            copy.flush()
            yield copy
    else:
        yield file


@contextmanager
def _reading(stored: BinaryIO, limit: str) -> Iterator[subprocess.Popen[bytes]]:
    settings = get_settings()
    limits = (settings.parquet_mib * 2**20, getattr(settings, limit) * 2**20, LONGEST_LINE)
    command = [sys.executable, "-P", str(READER), *map(str, limits), f"TOUCHSTONE_{limit.upper()}"]
    process = subprocess.Popen(command, stdin=stored, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               env={**os.environ, **_THRIFTY})  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()
