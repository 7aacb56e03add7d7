"""What models reached on benchmarks: the newest figure of each, and the scores of its items."""

import uuid
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Select, select
from sqlalchemy.orm import Session, aliased, defer

from app.benchmarks.catalogue import BENCHMARKS, Metric, Style
from app.core.cursors import rows_after
from app.core.errors import NotFound
from app.core.spreadsheet import csv_of
from app.evals.models import BenchmarkResult
from app.evals.spread import Floats
from app.projects.models import Project
from app.registry.models import Model
from app.runs.configs import RunKind
from app.runs.models import Run, RunInput, RunState
from app.runs.schemas import SUBJECT
from app.runs.service import FINAL

MOST_UNFINISHED = 20
_later = aliased(Run)

STYLES = {
    Style.plain: "", Style.respectful: "respectful prompt", Style.biased: "biased prompt", Style.qa: "QA prompt",
    Style.instruction: "instruction", Style.qa_instruction: "QA and instruction",
}  # fmt: skip


class Setting(NamedTuple):
    """What a figure is of: a metric of a benchmark, after one kind of prompt, with so many examples."""

    benchmark: str
    style: str
    few_shot: int
    metric: str

    @property
    def title(self) -> str:
        """`HellaSwag, 15 examples`; the metric where it is not the one that stands for the benchmark."""
        return ", ".join(part for part in (self.title_of_all, self.examples) if part)

    @property
    def title_of_all(self) -> str:
        """Whatever the number of examples."""
        known = BENCHMARKS.get(self.benchmark)
        metric = self.scale.label if known is None or self.metric != known.metric.key else ""
        style = STYLES[Style(self.style)] if self.style in STYLES else self.style
        return ", ".join(part for part in (known.title if known else self.benchmark, metric, style) if part)

    @property
    def examples(self) -> str:
        """`15 examples`; empty where the benchmark never has any."""
        known = BENCHMARKS.get(self.benchmark)
        if self.few_shot:
            return f"{self.few_shot} example{'s' if self.few_shot > 1 else ''}"
        return "no examples" if known and known.few_shot else ""

    @property
    def scale(self) -> Metric:
        known = BENCHMARKS.get(self.benchmark)
        metrics = known.metrics if known else ()
        return next((each for each in metrics if each.key == self.metric), Metric(self.metric, self.metric, unit=""))

    @property
    def is_paper(self) -> bool:
        return self.benchmark in BENCHMARKS and BENCHMARKS[self.benchmark].ours

    @property
    def not_as_paper(self) -> str:
        return BENCHMARKS[self.benchmark].not_as_paper if self.benchmark in BENCHMARKS else "Of an older version."

    def said(self, value: float, *, sign: bool = False) -> str:
        """A value, or a change, with its unit."""
        form = "+" if sign else ""
        if self.scale.unit == "%":
            return f"{100 * value:{form}.1f}{' points' if sign else ' %'}"
        digits = 1 if self.scale.high > 1 else 3
        return f"{value:{form}.{digits}f}{f' {self.scale.unit}' if self.scale.unit else ''}"

    @property
    def order(self) -> tuple[int, int, int, int]:
        """The catalogue's."""
        keys, styles = list(BENCHMARKS), list(Style)
        known = BENCHMARKS.get(self.benchmark)
        metrics = [each.key for each in known.metrics] if known else []
        return (
            keys.index(self.benchmark) if known else len(keys),
            metrics.index(self.metric) if self.metric in metrics else len(metrics),
            styles.index(Style(self.style)) if self.style in STYLES else len(styles),
            self.few_shot,
        )


@dataclass(frozen=True, slots=True)
class Reached:
    """A figure with the model and the run that it is of."""

    row: BenchmarkResult
    model: Model
    run: Run

    @property
    def setting(self) -> Setting:
        return Setting(self.row.benchmark, self.row.style, self.row.few_shot, self.row.metric)

    @property
    def has_interval(self) -> bool:
        return self.row.low is not None and self.row.high is not None


@dataclass(frozen=True, slots=True)
class Table:
    """The newest figure of each model in each setting."""

    models: list[Model]
    settings: list[Setting]
    cells: Mapping[tuple[uuid.UUID, Setting], Reached]

    @property
    def stamp(self) -> str:
        """Other figures, another stamp."""
        return max((str(reached.row.id) for reached in self.cells.values()), default="none")

    def of(self, model: Model, setting: Setting) -> Reached | None:
        return self.cells.get((model.id, setting))


def _query(project: Project) -> Select[BenchmarkResult, Model, Run]:
    return (
        select(BenchmarkResult, Model, Run)
        .join(Model, Model.id == BenchmarkResult.model_id)
        .join(Run, Run.id == BenchmarkResult.run_id)
        .where(BenchmarkResult.project_id == project.id)
    )


def newest(
    session: Session,
    project: Project,
    *,
    models: Iterable[uuid.UUID] = (),
    run: uuid.UUID | None = None,
    with_prompts: bool = False,
) -> Table:
    """Of these models, or of all; or all of one run."""
    query = _query(project).options(defer(BenchmarkResult.item_scores))
    query = query if with_prompts else query.options(defer(BenchmarkResult.prompt))
    if wanted := list(models):
        query = query.where(BenchmarkResult.model_id.in_(wanted))
    if run is not None:
        query = query.where(BenchmarkResult.run_id == run)
    cells = {
        (model.id, reached.setting): reached
        for row, model, of_run in session.execute(query.order_by(BenchmarkResult.id))
        for reached in [Reached(row, model, of_run)]
    }
    found = {reached.model.id: reached.model for reached in cells.values()}
    settings = sorted({setting for _, setting in cells}, key=lambda each: (each.order, each))
    return Table(sorted(found.values(), key=lambda model: model.created_at), settings, cells)


def result_of_project(session: Session, project: Project, result_id: uuid.UUID) -> Reached:
    found = session.execute(_query(project).where(BenchmarkResult.id == result_id)).one_or_none()
    if found is None:
        raise NotFound("There is no such result in this project.")
    return Reached(*found)


def results_after(
    session: Session,
    project: Project,
    *,
    model: uuid.UUID | None,
    run: uuid.UUID | None,
    benchmark: str,
    after: uuid.UUID | None,
    limit: int,
) -> tuple[list[BenchmarkResult], uuid.UUID | None]:
    """The next results behind this one, the newest first, and the cursor for those behind them."""
    query = select(BenchmarkResult).where(BenchmarkResult.project_id == project.id)
    query = query.options(defer(BenchmarkResult.item_scores))
    for column, value in ((BenchmarkResult.model_id, model), (BenchmarkResult.run_id, run)):
        query = query.where(column == value) if value else query
    query = query.where(BenchmarkResult.benchmark == benchmark) if benchmark else query
    return rows_after(session, query, BenchmarkResult, after=after, limit=limit)


def packed(scores: Sequence[float]) -> bytes:
    """Scores of items as a row holds them: float32, little-endian, deflated."""
    return zlib.compress(np.asarray(scores, dtype="<f4").tobytes())


def item_scores(row: BenchmarkResult) -> Floats | None:
    """(n,) in the items' order; none of a figure that no item has by itself, or of a row that does not hold them."""
    if row.item_scores is None:
        return None
    unpacked = zlib.decompressobj().decompress(row.item_scores, 4 * row.n + 1)
    return np.frombuffer(unpacked, dtype="<f4").astype(np.float64) if len(unpacked) == 4 * row.n else None


def under_way(session: Session, project: Project, kind: RunKind = RunKind.evaluation) -> list[Run]:
    """Measurements, or runs of another kind, that are not over, the newest first."""
    query = select(Run).where(Run.project_id == project.id, Run.kind == kind, Run.state.not_in(FINAL))
    return list(session.scalars(query.order_by(Run.created_at.desc())))


def unfinished(session: Session, project: Project) -> list[Run]:
    """Measurements that failed or were stopped, and none of their model's has left a figure since; the newest first."""
    later = (
        select(BenchmarkResult.id)
        .join(_later, _later.id == BenchmarkResult.run_id)
        .where(BenchmarkResult.model_id == RunInput.model_id, _later.created_at > Run.created_at)
    )
    query = (
        select(Run)
        .join(RunInput, (RunInput.run_id == Run.id) & (RunInput.part == SUBJECT[RunKind.evaluation]))
        .where(Run.project_id == project.id, Run.kind == RunKind.evaluation, ~later.exists())
        .where(Run.state.in_((RunState.failed, RunState.cancelled)))
    )
    return list(session.scalars(query.order_by(Run.created_at.desc()).limit(MOST_UNFINISHED)))


_COLUMNS = (
    "model", "benchmark", "style", "examples", "metric", "value", "low_95", "high_95", "n", "cut_prompts", "task",
    "scorer", "data", "data_sha256", "decoding", "code_version", "run", "not_as_paper",
)  # fmt: skip


def as_csv(table: Table) -> str:
    """Every cell with all that it rests on."""
    cells = [table.cells[model.id, setting] for setting in table.settings for model in table.models
             if (model.id, setting) in table.cells]  # fmt: skip
    return csv_of(_COLUMNS, (_csv_row(each) for each in cells))


def _csv_row(reached: Reached) -> tuple[Any, ...]:
    row = reached.row
    interval = (row.low, row.high) if reached.has_interval else ("", "")
    return (
        reached.model.name, row.benchmark, row.style, row.few_shot, row.metric, row.value,
        *interval, row.n, row.cut, row.task, row.scorer,
        row.data_source, row.data_sha256, said_decoding(row), reached.run.code_version, reached.run.name,
        reached.setting.not_as_paper,
    )  # fmt: skip


def said_decoding(row: BenchmarkResult) -> str:
    """`temperature: 0, until: …`"""
    words = {True: "yes", False: "no", None: "none"}
    said = {name: words[value] if isinstance(value, bool | None) else value for name, value in row.decoding.items()}
    return ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in said.items())
