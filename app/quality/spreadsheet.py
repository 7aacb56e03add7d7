"""The labelers' figures as CSV."""

from collections.abc import Iterable

from app.core.spreadsheet import csv_of
from app.quality.intervals import Figure
from app.quality.labelers import LabelerFigures

_FIGURES = ("agreement", "tau_b", "gold")
COLUMNS = (
    "labeler", "group", "state", "simulated", "excluded", "rankings", "demonstrations", "skipped",
    "median_seconds", "seconds_per_100_words",
    *(f"{name}{part}" for name in _FIGURES for part in ("", "_low", "_high", "_n")),
    "look_at",
)  # fmt: skip


def labelers_csv(labelers: Iterable[LabelerFigures]) -> str:
    return csv_of(COLUMNS, map(_row, labelers))


def _row(each: LabelerFigures) -> list[object]:
    person = each.person
    return [
        person.name, person.group.value, person.state.value, person.is_simulated, each.is_excluded,
        each.rankings, each.demonstrations, each.skipped, each.median_seconds, each.pace,
        *(value for figure in (each.agreement, each.tau, each.gold) for value in _parts(figure)),
        "; ".join(flag.name for flag in each.flags),
    ]  # fmt: skip


def _parts(figure: Figure | None) -> list[object]:
    if figure is None:
        return [None] * 4
    return [figure.value, *(figure.interval or (None, None)), figure.n]
