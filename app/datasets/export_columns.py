"""The columns of each form of export as Parquet."""

from typing import Any

import pyarrow as pa

from app.datasets.exports import WHOLE, ExportForm
from app.datasets.models import SnapshotKind
from app.datasets.parquet import COLUMNS, MESSAGES


def _strings(*names: str) -> list[tuple[str, pa.DataType]]:
    return [(name, pa.string()) for name in names]


def columns_of(form: ExportForm) -> pa.Schema:
    """The types of a form's columns, in order."""
    comparisons = COLUMNS[SnapshotKind.comparisons]
    origin = [*_strings("prompt_id", "split", "use_case", "group", "labeler"), ("simulated", pa.bool_())]
    turns = ("prompt", MESSAGES)
    fields: dict[ExportForm, list[Any]] = {
        ExportForm.preference: [*_strings("prompt", "chosen", "rejected", "ranking_id"), *origin],
        ExportForm.preference_conversational: [
            turns, ("chosen", MESSAGES), ("rejected", MESSAGES), *_strings("ranking_id"), *origin
        ],
        ExportForm.rankings: [
            turns, *((name, comparisons.field(name).type) for name in WHOLE), *_strings("ranking_id"), *origin
        ],
        ExportForm.prompt_completion: [*_strings("prompt", "completion", "demonstration_id"), *origin],
        ExportForm.prompt_completion_conversational: [
            turns, ("completion", MESSAGES), *_strings("demonstration_id"), *origin
        ],
        ExportForm.prompt_only: _strings("prompt", "prompt_id", "split", "use_case", "group"),
        ExportForm.prompt_only_conversational: [turns, *_strings("prompt_id", "split", "use_case", "group")],
        ExportForm.text: _strings("text", "source", "split"),
    }  # fmt: skip
    return pa.schema(fields[form])
