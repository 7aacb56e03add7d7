"""Parquet as rows, a batch at a time."""

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from app.core.config import get_settings
from app.core.errors import Invalid
from app.prompts.readers import RawRow

ROWS_AT_ONCE = 500
_BUFFER = 2**20  # read so much of a column at a time, not its whole row group


def read_parquet(file: BinaryIO) -> Iterator[RawRow]:
    """Every row, by the names of its columns."""
    file.seek(0)
    try:
        table = pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False)
        _check(table)
        number = 0
        for batch in table.iter_batches(batch_size=ROWS_AT_ONCE):
            for values in batch.to_pylist():
                number += 1
                yield RawRow(number, values)
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
        raise Invalid(f"The file can't be read as Parquet: {str(error)[:300]}.", mend="Write it anew.") from error


def _check(table: pq.ParquetFile) -> None:
    names = table.schema_arrow.names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Invalid(f"The file has two columns `{twice[0]}`.", mend="Give each column a name of its own.")
    groups = (table.metadata.row_group(number) for number in range(table.num_row_groups))
    unpacked, most = sum(group.total_byte_size for group in groups), get_settings().prompt_unpacked_mib
    if unpacked > most * 2**20:
        raise Invalid(
            f"Unpacked, the file is larger than {most:,} MiB.",
            mend="Split it, or ask to raise TOUCHSTONE_PROMPT_UNPACKED_MIB.",
        )
