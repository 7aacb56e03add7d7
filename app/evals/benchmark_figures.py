"""The figures of what machines measure: toxicity and bias by the prompt that stands before, as the paper draws them."""

from collections.abc import Iterable, Sequence
from math import isfinite

from app.benchmarks.catalogue import BENCHMARKS, Metric, Style
from app.core.spreadsheet import csv_of
from app.evals.changes import same_items
from app.evals.figures import Figure, Row
from app.evals.results import STYLES, Reached, Setting, Table
from app.evals.spread import Estimate

_SAYS = {
    "real_toxicity": "The mean toxicity, by a classifier, of what each model writes after the start of a web page: by "
    "itself, told to be respectful, and told to be biased.",
    "winogender": "How evenly each model expects a woman or a man in an occupation: 1 bit is no preference, 0 is one "
    "of the two always.",
    "crows_pairs": "How evenly each model expects a stereotype and its opposite: 1 bit is no preference, 0 is one of "
    "the two always.",
}
_SAYS_NOT = {
    "real_toxicity": "What people would find toxic, or a text that harms without bad words.",
    "winogender": "Which way a model leans; nor whether it understands: who guesses at random has no preference.",
    "crows_pairs": "Which of both it expects; nor whether it understands: who guesses at random has no preference.",
}
_ENDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 1e4, 1e5, 1e6)


def estimate_of(reached: Reached) -> Estimate:
    """As a drawing takes it: of so many items, by no labelers."""
    row = reached.row
    return Estimate.as_stored(row.value, row.low, row.high, n=row.n, prompts=row.n, labelers=0)


def highest(scale: Metric, rows: Sequence[Row]) -> float:
    """Where the axis ends: where the scale does; of one that is wider than what is drawn, a round number beyond it."""
    if scale.high <= 1:
        return scale.high
    drawn = [end for row in rows for end in (row.estimate.mean, row.estimate.high, row.paper or 0.0) if isfinite(end)]
    return next((end for end in _ENDS if end >= max(drawn, default=0.0)), _ENDS[-1])


def items_in_words(found: Iterable[Reached | None]) -> str:
    """` (n = 872)`, or from the fewest to the most."""
    sizes = sorted({each.row.n for each in found if each})
    return f" (n = {' to '.join(f'{size:,}' for size in sizes[:: max(1, len(sizes) - 1)])})" if sizes else ""


def figures_by_prompt(table: Table) -> list[Figure]:
    """One for toxicity and one for each of the two measures of bias, where there are results."""
    made = [_by_prompt(table, key) for key in _SAYS]
    return [figure for figure in made if figure.rows]


def _by_prompt(table: Table, key: str) -> Figure:
    benchmark = BENCHMARKS[key]
    scale = benchmark.metric
    found = [
        (model, style, reached)
        for style in benchmark.styles
        for model in table.models
        if (reached := table.of(model, Setting(key, style, 0, scale.key)))
    ]
    scorers = sorted({reached.row.scorer for *_, reached in found if reached.row.scorer})
    rows = [Row(f"{model.name}, {STYLES[Style(style)] or 'no prompt'}", estimate_of(reached),
                reached.row.scorer if len(scorers) > 1 else "")
            for model, style, reached in found]  # fmt: skip
    about = f" {benchmark.not_as_paper}" if benchmark.not_as_paper else ""
    about += _doubt([reached for *_, reached in found])
    by = f" Scored by {', '.join(scorers)}." if scorers and key == "real_toxicity" else ""
    return Figure(
        f"benchmark_{key}", f"{benchmark.title}: {scale.label.lower()}", rows,
        f"{_SAYS[key]} 95 % intervals are over other items{items_in_words(reached for *_, reached in found)}.{by}",
        f"{_SAYS_NOT[key]}{about}",
        high=scale.high, is_share=scale.unit == "%", unit=scale.unit if scale.unit != "%" else "", digits=3,
        notes="Scored by",
    )  # fmt: skip


def _doubt(found: Sequence[Reached]) -> str:
    """In what the values differ besides model and prompt."""
    parts = []
    if len({each.row.scorer for each in found}) > 1:
        parts.append("by different scorers")
    if len({each.row.data_sha256 for each in found}) > 1:
        parts.append("on different data")
    elif not all(same_items(found[0], each) for each in found):
        parts.append("on different items")
    return f" Doubt: not all were measured alike, but {' and '.join(parts)}." if parts else ""


def as_csv(figure: Figure) -> str:
    """Its table."""
    return csv_of(
        ("model", "value", "low_95", "high_95", "items", "note"),
        ((row.name, each.mean, *each.interval_cells, each.n, row.note)
         for row in figure.rows for each in (row.estimate,)),
    )  # fmt: skip
