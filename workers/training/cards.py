"""The model card that stands in every folder a run writes."""

from collections.abc import Mapping
from pathlib import Path

from app.runs.configs import RunConfig


def model_card(
    title: str, said: str, *, base: Path, config: RunConfig, data: Mapping[str, float], metrics: Mapping[str, float]
) -> str:
    """README.md of a model folder: what it is, from what, on how much data, with which settings, how well it did."""
    parts = [
        "---\nlibrary_name: transformers\n---",
        f"# {title}",
        said,
        f"Trained by Touchstone from `{base.name}`.",
        _table("Data", data),
        _table("Results", metrics),
        _table("Settings", config.model_dump()),
    ]
    return "\n\n".join(parts) + "\n"


def _table(title: str, rows: Mapping[str, object]) -> str:
    lines = [f"| {name} | {_shown(value)} |" for name, value in rows.items()]
    return "\n".join([f"## {title}", "", "| | |", "|---|---|", *lines])


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
