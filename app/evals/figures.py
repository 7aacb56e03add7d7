"""The figures of the evaluations page: each with its rows, what it says, and what it does not."""

from collections.abc import Iterable
from dataclasses import dataclass

from app.core.errors import NotFound
from app.core.spreadsheet import csv_of
from app.evals.service import Standing, Standings
from app.evals.spread import Estimate

FORMULA = "A tie counts half. Intervals (95 %) allow for other prompts and other labelers."


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    estimate: Estimate
    note: str = ""
    paper: float | None = None  # the paper's figure, drawn beside it


@dataclass(frozen=True, slots=True)
class Figure:
    """Dots with intervals on one axis from `low` to `high`; shares are drawn in percent. `middle`: a line to compare
    with."""

    key: str
    title: str
    rows: list[Row]
    says: str
    says_not: str
    low: float = 0.0
    high: float = 1.0
    middle: float | None = None
    is_share: bool = True
    unit: str = ""
    digits: int = 2
    named: str = "Model"  # what the rows are
    notes: str = "Told from 50 %"  # what the rows' notes are

    def at(self, value: float) -> float:
        """Where a value lies on the axis, from 0 to 1."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def said(self, value: float) -> str:
        return f"{100 * value:.1f} %" if self.is_share else f"{value:.{self.digits}f} {self.unit}".rstrip()

    @property
    def ticks(self) -> list[float]:
        return [self.low, (self.low + self.high) / 2, self.high]


def figures_of(found: Standings) -> list[Figure]:
    """Those that there is something to show in, in the paper's order."""
    made = [_preferred(found), _strengths(found), _at_equal_length(found), *_scales(found), *_flags(found)]
    return [each for each in made if each.rows]


def _preferred(found: Standings) -> Figure:
    return Figure(
        "preferred",
        f"Preferred over {found.baseline.name}",
        [Row(row.judged.name, row.win_rate, _more(row)) for row in found.rows if row.win_rate],
        f"How often labelers ranked a model's completion above {found.baseline.name}'s to the same prompt. {FORMULA}",
        "How either would do on prompts of another kind, or with labelers chosen otherwise.",
        middle=0.5,
    )


def _more(row: Standing) -> str:
    """What the column on certainty says."""
    if row.enough is None:
        return "one prompt says nothing of others"
    if row.enough.is_told:
        return "told apart"
    if row.enough.more is None:
        return "not told apart, and more of the same labels would hardly do it"
    return f"some {row.enough.more:,} more would tell"


def _strengths(found: Standings) -> Figure:
    rows = [row for row in found.rows if row.strength and row.strength.win_rate]
    rows.sort(key=lambda row: -row.strength.odds if row.strength else 0.0)
    return Figure(
        "strength",
        "Leaderboard",
        [Row(row.judged.name, row.strength.win_rate) for row in rows if row.strength and row.strength.win_rate]
        if len(rows) > 1
        else [],
        f"The win rate over {found.baseline.name} that explains all comparisons best, also those between two others "
        "(Bradley and Terry's model). " + FORMULA,
        "Whether one scale fits: where A beats B, B beats C and C beats A, no order is right.",
        middle=0.5,
    )


def _at_equal_length(found: Standings) -> Figure:
    return Figure(
        "equal_length",
        "Preferred at equal length",
        [Row(row.judged.name, row.at_equal_length) for row in found.rows if row.at_equal_length],
        "The win rate that a logistic regression on the difference in length leaves where there is none (Dubois et al. "
        "2024, without their term for each prompt's difficulty). Far from the first figure, length is much of it.",
        "Whether length was what labelers saw: a longer answer may also say more.",
        middle=0.5,
    )


def _scales(found: Standings) -> list[Figure]:
    return [
        Figure(
            f"scale_{scale.key}" if scale.is_usual else f"scale_{scale.key}_{scale.least}_{scale.most}",
            f"{scale.key.replace('_', ' ').capitalize()}, {scale.range}",
            [Row(row.judged.name, row.scales[scale]) for row in found.rows if scale in row.scales],
            "The mean of labelers' ratings of single completions.",
            "A distance: labelers use the steps as they like, and the highest is not so many times the lowest.",
            low=scale.least,
            high=scale.most,
            middle=0.0 if scale.least < 0 < scale.most else None,
            is_share=False,
        )
        for scale in found.scales
    ]


def _flags(found: Standings) -> list[Figure]:
    made = []
    for key in found.flags:
        rows = [Row(row.judged.name, row.flags[key]) for row in found.rows if key in row.flags]
        ends = [each.estimate.ends[-1] for each in rows]
        made.append(
            Figure(
                f"flag_{key}",
                key.replace("_", " ").capitalize(),
                rows,
                "The share of completions that labelers flagged, of those they were asked about: under a rating schema "
                "that has the flag, for a use case that it is for.",
                "What nobody noticed.",
                high=_axis(max(ends, default=1.0)),
            )
        )
    return made


def _axis(highest: float) -> float:
    """A round end just beyond the highest."""
    return next((end for end in (0.02, 0.05, 0.1, 0.2, 0.5) if highest <= end), 1.0)


def figure_named(figures: Iterable[Figure], key: str, *, page: str) -> Figure:
    """The figure of this key; NotFound says which page lists those there are."""
    found = next((each for each in figures if each.key == key), None)
    if found is None:
        raise NotFound("There is no such figure.", mend=f"Open {page}: it lists those there are.")
    return found


def as_csv(figure: Figure) -> str:
    """Its table."""
    columns = ("model", "value", "low_95", "high_95", "judgments", "prompts", "labelers", "note")
    return csv_of(
        columns,
        (
            (row.name, each.mean, *each.interval_cells, each.n, each.prompts,
             each.labelers, row.note)
            for row in figure.rows
            for each in (row.estimate,)
        ),
    )  # fmt: skip
