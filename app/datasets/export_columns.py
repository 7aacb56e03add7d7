"""The columns of each form of export as Parquet."""

from typing import Any

import pyarrow as pa

from app.datasets.exports import OF_PROMPT, WHOLE, ExportForm
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
        ExportForm.hh_rlhf: [*_strings("chosen", "rejected", "ranking_id"), *origin],
        ExportForm.summaries: [
            ("info", pa.struct(_strings("subreddit", "title", "post"))),
            ("summaries", pa.list_(pa.struct(_strings("text", "policy")))), ("choice", pa.int32()),
            *_strings("worker"), turns, *_strings("ranking_id"), *origin,
        ],
        ExportForm.ratings: [
            turns, *_strings("completion", "model"), ("rank", pa.int32()),
            *((name, comparisons.field(name).type.value_type) for name in ("ratings", "flags")),
            *((name, comparisons.field(name).type) for name in ("flags_asked",)), *_strings("ranking_id"),
            *((name, comparisons.field(name).type) for name in ("round", "labeled_at")), *origin,
        ],
        ExportForm.rankings: [
            turns, *((name, comparisons.field(name).type) for name in WHOLE), *_strings("ranking_id"), *origin
        ],
        ExportForm.prompt_completion: [*_strings("prompt", "completion", "demonstration_id"), *origin],
        ExportForm.prompt_completion_conversational: [
            turns, ("completion", MESSAGES), *_strings("demonstration_id"), *origin
        ],
        ExportForm.prompt_only: _strings("prompt", "prompt_id", *OF_PROMPT),
        ExportForm.prompt_only_conversational: [turns, *_strings("prompt_id", *OF_PROMPT)],
        ExportForm.text: _strings("text", "source", "split"),
    }  # fmt: skip
    return pa.schema(fields[form])
