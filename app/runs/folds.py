"""The table of a cross-validation: how well labelers are predicted that were held out, beside the paper's figures."""

from dataclasses import dataclass
from typing import Any

from app.runs.configs import RunKind
from app.runs.models import Run


@dataclass(frozen=True, slots=True)
class Summary:
    label: str
    figure: str
    paper: str


@dataclass(frozen=True, slots=True)
class Training:
    """One line of the table: a group held out, with one seed."""

    group: int
    labelers: int
    seed: int
    held_out: str
    trained: str


@dataclass(frozen=True, slots=True)
class Folds:
    summary: list[Summary]
    trainings: list[Training]
    note: str


def read_folds(run: Run) -> Folds | None:
    """What a finished cross-validation found; none of any other run."""
    rows = run.result.get("trainings_table", [])
    if run.kind != RunKind.cross_validation or not rows:
        return None
    groups = {group["fold"]: group["labelers"] for group in run.result["groups"]}
    trainings = [
        Training(row["fold"], groups[row["fold"]], row["seed"], _share(row, "held_out_labelers"),
                 _share(row, "training_labelers"))
        for row in rows
    ]  # fmt: skip
    summary = [
        Summary("Labelers held out", _mean(run.result, "held_out_labelers"), "69.6 ± 0.9 %"),
        Summary("Labelers learned from", _mean(run.result, "training_labelers"), "72.4 ± 0.4 %"),
    ]
    return Folds(summary, trainings, _note(groups, wanted=run.config["folds"]))


def _mean(result: dict[str, Any], kind: str) -> str:
    value, error = result.get(f"{kind}_accuracy"), result.get(f"{kind}_error")
    if value is None:
        return "–"
    return f"{100 * value:.1f} %" if error is None else f"{100 * value:.1f} ± {100 * error:.1f} %"


def _share(row: dict[str, Any], kind: str) -> str:
    value = row.get(f"{kind}_accuracy")
    return "–" if value is None else f"{100 * value:.1f} % of {row[f'{kind}_pairs']:,.0f}"


def _note(groups: dict[int, int], *, wanted: int) -> str:
    """Said plainly where there were fewer labelers than groups."""
    if len(groups) >= wanted:
        return ""
    return (
        f"There were {sum(groups.values())} labelers, so each was a group of their own: {len(groups)} groups in place "
        f"of {wanted}. What a single labeler is like weighs much in these figures."
    )
