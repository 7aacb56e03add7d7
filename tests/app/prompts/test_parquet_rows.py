"""Parquet that means harm ends the process that reads it, in words, and nothing else."""

import io
import resource
import subprocess
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.core.config import get_settings
from app.core.errors import Invalid
from app.prompts.parquet_rows import read_parquet
from app.prompts.readers import RawRow
from app.prompts.streams import LONGEST_LINE


def written(table: pa.Table, **options: Any) -> io.BytesIO:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out


def rows(file: io.BytesIO) -> list[RawRow]:
    return list(read_parquet(file))


def repeated(text: str, times: int) -> pa.Table:
    """One text, once in the file's dictionary, in so many rows."""
    indices = pa.array([0] * times, pa.int32())
    return pa.table({"prompt": pa.DictionaryArray.from_arrays(indices, pa.array([text]))})


def nested(depth: int, value: Any) -> pa.Table:
    kind: Any = pa.string()
    for _ in range(depth):
        kind, value = pa.list_(kind), [value]
    return pa.table({"prompt": pa.array([value], kind)})


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_settings(), "parquet_mib", 256)


def test_values_are_as_json_has_them(tmp_path: Path) -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    values = {"s": "שלום 😀\u2028\n", "b": b"a text", "n": None, "f": 1.5, "i": 2**60, "t": at, "d": Decimal("1.10"),
              "l": [{"role": "user", "content": None}], "x": b"\xff"}  # fmt: skip
    table = pa.Table.from_pylist([values] * 250)
    found = rows(written(table, row_group_size=90))
    assert [row.number for row in found] == list(range(1, 251))
    told = {"b": "a text", "t": "2026-01-02T00:00:00+00:00", "d": "1.10", "x": {"bytes": 1}}
    assert found[-1].values == values | told
    on_disk = tmp_path / "a.parquet"
    on_disk.write_bytes(written(table).getvalue())
    with on_disk.open("rb") as file:
        assert len(list(read_parquet(file))) == 250


def test_whoever_wants_the_first_rows_only_waits_for_no_more() -> None:
    file = written(pa.table({"prompt": [f"Number {n}" for n in range(200_000)]}))
    began = time.perf_counter()
    assert next(read_parquet(file)).values == {"prompt": "Number 0"}
    assert time.perf_counter() - began < 20


@pytest.mark.usefixtures("little_memory")
def test_a_dictionary_that_unpacks_to_terabytes_is_refused() -> None:
    """100 MB of one letter, packed to a few kilobytes, in a million rows: 100 TB."""
    options = {"dictionary_pagesize_limit": 2**30, "write_statistics": False, "compression": "zstd"}
    file = written(repeated("x" * 100_000_000, 1_000_000), **options)
    assert len(file.getvalue()) < 2**16
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Invalid, match="takes more than 256 MiB of memory"):
        rows(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


def test_rows_that_together_unpack_to_too_much_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_settings(), "prompt_unpacked_mib", 2)
    with pytest.raises(Invalid, match="larger than 2 MiB"):
        rows(written(repeated("x" * 100_000, 1000)))
    with pytest.raises(Invalid, match="larger than 2 MiB"):  # as its index says
        rows(written(pa.table({"prompt": ["x" * 3_000_000]}), compression="zstd", use_dictionary=False))
    with pytest.raises(Invalid, match="larger than 2 MiB"):
        rows(written(pa.table({"prompt": pa.nulls(10_000_000, pa.string())})))


def test_an_index_that_lies_is_found_out() -> None:
    whole = written(pa.table({"prompt": [f"Number {n}" for n in range(1000)]}), compression="none").getvalue()
    for place in range(4, len(whole) - 8, max(1, len(whole) // 12)):
        broken = bytearray(whole)
        broken[place : place + 8] = b"\xff\xfe\x7f\xff\xff\xff\xff\x0f"
        try:
            rows(io.BytesIO(bytes(broken)))
        except Invalid as error:
            assert error.mend  # noqa: PT017  some breaks are none: a letter in a text


def test_a_row_that_is_too_long_or_no_text_is_only_that() -> None:
    long = rows(written(pa.table({"prompt": ["One", "x" * (LONGEST_LINE + 1), "Two"]})))
    assert [row.problem.split(" than")[0] for row in long] == ["", "is longer", ""]
    bad = pa.StringArray.from_buffers(3, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0"), pa.py_buffer(b"a\xffb"))
    broken = rows(written(pa.table({"prompt": bad})))
    assert [row.problem[:13] for row in broken] == ["", "can't be read", ""]


def test_names_that_are_there_twice() -> None:
    with pytest.raises(Invalid, match="two columns `a`"):
        rows(written(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])))
    inner = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    assert rows(written(pa.table({"prompt": inner})))[0].problem.startswith("can't be read")


@pytest.mark.parametrize("depth", [100, 400])
def test_deep_nesting(depth: int) -> None:
    try:
        (row,) = rows(written(nested(depth, "x")))
    except Invalid as error:
        assert "Parquet" in error.message  # noqa: PT017  the library may refuse it itself
    else:
        assert bool(row.problem) == (depth > 200)


def test_no_process_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            started.append(self)

    monkeypatch.setattr("app.prompts.parquet_rows.subprocess.Popen", Noted)
    reading = read_parquet(written(pa.table({"prompt": ["x"] * 100_000})))
    next(reading)
    reading.close()
    assert [process.returncode is not None for process in started] == [True]
