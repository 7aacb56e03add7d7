"""Everything that a run's page shows, read in one go."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.clock import now
from app.labeling.models import Batch
from app.registry import service as registry
from app.registry.models import Model, ModelKind
from app.runs import alarms, creation, curves, forms, history
from app.runs.folds import Folds, read_folds
from app.runs.history import Input
from app.runs.judged import Judged, judged
from app.runs.models import Run, RunLogLine, RunMetric, RunSample, RunState
from app.runs.newer_configs import RlooConfig
from app.runs.ppo_config import PpoConfig
from app.runs.schemas import PLANS, Priority, kind_name
from app.runs.service import FINAL
from app.runs.waiting import Wait, wait_of
from app.runs.workers import patience


@dataclass(frozen=True, slots=True)
class Setting:
    label: str
    value: str
    is_default: bool


@dataclass(frozen=True, slots=True)
class BestOf:
    """What the best of n completions would be worth, for one model of a sampling run."""

    model: str
    kept_of: int
    points: list[tuple[int, float, float]]  # n, its mean reward, its KL from the model at most


@dataclass(frozen=True, slots=True)
class RunPage:
    kind: str
    round_number: int | None
    progress: str
    percent: float
    left: str
    checkpoint: str
    figures: list[curves.Figure]
    alarms: list[alarms.Alarm]
    recent: list[RunMetric]
    columns: list[str]
    samples: list[RunSample]
    best_of: list[BestOf]
    lines: list[RunLogLine]
    inputs: list[Input]
    settings: list[Setting]
    by: str
    took: float | None
    made: list[Model]
    judged: list[Judged]
    folds: Folds | None
    batch: Batch | None
    wait: Wait | None  # while it is queued
    priorities: list[Priority]
    is_silent: bool  # it works, they say, but its worker gives no sign of life
    is_over: bool


def read_page(session: Session, run: Run) -> RunPage:
    config = PLANS[run.kind].model_validate(run.config)
    recent = history.newest_metrics(session, run, count=history.TIMED_STEPS)
    first = history.metric_rows(session, run, limit=1)
    values = [row.values for row in recent]
    made = registry.models_of_run(session, run.id)
    left = history.seconds_left(run, recent)
    turn = creation.round_of(session, run)
    return RunPage(
        kind=kind_name(run.kind, config),
        round_number=turn.number if turn else None,
        progress=_progress(run, config, values),
        percent=_percent(run),
        left=history.in_words(left) if left is not None else "",
        checkpoint=f"last checkpoint at step {run.checkpoint_step:,}" if run.checkpoint_step else "no checkpoint yet",
        figures=curves.figures(run.kind, config, values, first[0].values if first else {}),
        alarms=_alarms(session, run, values),
        recent=recent[:10],
        columns=sorted({key for row in values for key in row}),
        samples=history.newest_samples(session, run),
        best_of=[BestOf(**each) for each in run.result.get("best_of", [])],
        lines=history.log_lines(session, run),
        inputs=history.inputs_of(session, run),
        settings=_settings(session, run),
        by=history.started_by(session, run),
        took=history.took(run),
        made=made,
        judged=[judged(model) for model in made if model.kind == ModelKind.reward],
        folds=read_folds(run),
        batch=session.scalar(select(Batch).where(Batch.run_id == run.id)),
        wait=wait_of(session, run) if run.state == RunState.queued else None,
        priorities=list(Priority),
        is_silent=_is_silent(run),
        is_over=run.state in FINAL,
    )  # fmt: skip


def _alarms(session: Session, run: Run, recent: list[dict[str, float]]) -> list[alarms.Alarm]:
    """Those of a run that moves a policy away from where it started."""
    if not recent or recent[0].get("kl") is None:
        return []
    rows = history.newest_metrics(session, run, count=history.ROWS_AT_ONCE)
    return alarms.raised([row.values for row in reversed(rows)])


def _is_silent(run: Run) -> bool:
    return run.state == RunState.running and run.heartbeat_at is not None and abs(now() - run.heartbeat_at) > patience()


def _percent(run: Run) -> float:
    if run.state == RunState.succeeded:
        return 100.0
    return 100 * run.step / run.total_steps if run.total_steps else 0.0


def _progress(run: Run, config: object, recent: list[dict[str, float]]) -> str:
    """What stands beside the step: the episodes played, and the pace."""
    parts = []
    if isinstance(config, PpoConfig | RlooConfig) and run.total_steps:
        parts.append(f"{run.step * config.batch_size:,} of {run.total_steps * config.batch_size:,} episodes")
    for key, unit in (("episodes_per_second", "episodes/s"), ("tokens_per_second", "tokens/s")):
        if recent and recent[0].get(key) is not None:
            parts.append(f"{curves.number(recent[0][key])} {unit}")
    return " · ".join(parts)


def _settings(session: Session, run: Run) -> list[Setting]:
    """Every setting, and whether it is what the form would have offered."""
    models = {each.part: each.model for each in history.inputs_of(session, run) if each.model}
    subject = next(iter(models.values()), None)
    offered = creation.default_config(run.kind, subject).model_dump(mode="json")
    return [
        Setting(forms.label(name), "yes" if value is True else "no" if value is False else forms.written(value),
                is_default=offered.get(name) == value)
        for name, value in run.config.items()
    ]  # fmt: skip
