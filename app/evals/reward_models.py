"""Reward models beside people, and policies along the way of their optimisation: what runs have left of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, sqrt
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.spreadsheet import csv_of
from app.evals import results
from app.evals.figures import Figure, Row
from app.evals.spread import Estimate
from app.projects.models import Project
from app.registry.models import Model
from app.runs.configs import RunKind
from app.runs.judged import Judged, judged_by
from app.runs.models import Run, RunInput, RunMetric, RunState

MOST_RUNS = 12  # whose curves are drawn, the newest
_OPTIMISED = (RunKind.ppo, RunKind.rloo)
_NAMED = {
    ("all", "unseen"): "all that it never learned from", ("group", "training"): "training labelers",
    ("group", "held_out"): "held-out labelers", ("seen", "training prompts"): "prompts it may have learned from",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Beside:
    """A reward model's newest run beside people: its figures, and how sure it is."""

    model: Model
    run: Run
    figures: list[Figure]
    judged: Judged

    @property
    def left_out(self) -> int:
        return int(self.run.result.get("left_out", 0))

    @property
    def cut(self) -> int:
        return int(self.run.result.get("cut", 0))


@dataclass(frozen=True, slots=True)
class Point:
    """A step of a run: how far the policy is from where it started, and its mean reward on the same prompts."""

    step: int
    distance: float  # the square root of the KL in nats an episode
    reward: float
    watching: float | None  # by a reward model that the policy isn't optimised for


@dataclass(frozen=True, slots=True)
class Curve:
    """Reward over distance, as Gao et al. 2023 draw over-optimisation."""

    run: Run
    points: list[Point]
    is_held_out: bool  # validation prompts; else those it trains on

    @property
    def key(self) -> str:
        return f"optimised_{self.run.id}"

    @property
    def best(self) -> Point | None:
        """Where the watching reward model was highest: beyond it, more reward is not more of what is wanted."""
        watched = [point for point in self.points if point.watching is not None]
        return max(watched, key=lambda point: point.watching or 0.0) if watched else None

    @property
    def fell(self) -> float:
        """By how much the watching reward has fallen since it was highest."""
        last = self.points[-1].watching
        return (self.best.watching or 0.0) - last if self.best and last is not None else 0.0

    @property
    def ends(self) -> tuple[float, float, float]:
        """Of the axes: distance from 0, reward from and to."""
        values = [value for point in self.points for value in (point.reward, point.watching) if value is not None]
        low, high = min(values), max(values)
        margin = 0.05 * (high - low) or 0.5
        return max(point.distance for point in self.points) or 1.0, low - margin, high + margin


def beside_people(session: Session, project: Project) -> list[Beside]:
    """The newest finished run of each reward model, the newest model first."""
    query = (
        select(Run, Model)
        .join(RunInput, (RunInput.run_id == Run.id) & (RunInput.part == "reward_model"))
        .join(Model, Model.id == RunInput.model_id)
        .where(Run.project_id == project.id, Run.kind == RunKind.reward_evaluation, Run.state == RunState.succeeded)
        .order_by(Model.created_at.desc(), Run.created_at.desc())
    )
    newest: dict[Any, Beside] = {}
    for run, model in session.execute(query):
        if model.id not in newest:
            newest[model.id] = Beside(model, run, _figures(model, run.result), _judged(model, run.result))
    return list(newest.values())


def under_way(session: Session, project: Project) -> list[Run]:
    """The oldest first."""
    return results.under_way(session, project, RunKind.reward_evaluation)[::-1]


def unfinished(session: Session, project: Project) -> list[Run]:
    """The newest run of each reward model, where it failed or was stopped."""
    query = (
        select(Run, RunInput.model_id)
        .join(RunInput, (RunInput.run_id == Run.id) & (RunInput.part == "reward_model"))
        .where(Run.project_id == project.id, Run.kind == RunKind.reward_evaluation)
        .order_by(Run.created_at)
    )
    newest = {model_id: run for run, model_id in session.execute(query)}
    return [run for run in newest.values() if run.state in (RunState.failed, RunState.cancelled)]


def _figures(model: Model, result: Mapping[str, Any]) -> list[Figure]:
    made = [_agreement(model, result), _overrated(model, result), _rewards(model, result), _bench(model, result)]
    return [figure for figure in made if figure.rows]


def _estimate(row: Mapping[str, Any]) -> Estimate:
    counts = {name: row[name] for name in ("n", "prompts", "labelers")}
    return Estimate.as_stored(row["mean"], row.get("low"), row.get("high"), **counts)


def _agreement(model: Model, result: Mapping[str, Any]) -> Figure:
    rows = [Row(_name(row), _estimate(row), f"{row['pairs']:,}") for row in result["agreement"]]
    return Figure(
        f"agreement_{model.id}",
        "Orders as people do",
        rows,
        "The share of the pairs of a ranking which the reward model orders as the labeler did, a ranking counted once; "
        "pairs that the labeler ties are left out. Labelers with each other on the same completions are about the most "
        "that can be reached. The paper's reward models: 72.4 % for training labelers, 69.6 % for held-out ones (E.2).",
        "What it makes of completions unlike these: a policy that is optimised for it writes such.",
        middle=0.5,
        named="With whom",
        notes="Pairs",
    )


def _name(row: Mapping[str, Any]) -> str:
    return _NAMED.get((row["by"], row["name"]), str(row["name"]).replace("_", " "))


def _overrated(model: Model, result: Mapping[str, Any]) -> Figure:
    rows = [Row(row["model"], _estimate(row["overrated"]), f"{100 * row['people']['mean']:.1f} %")
            for row in result["models"]]  # fmt: skip
    widest = max((abs(end) for row in rows for end in row.estimate.ends), default=0.0)
    end = next((each for each in (0.05, 0.1, 0.2, 0.5) if widest <= each), 1.0)
    return Figure(
        f"overrated_{model.id}",
        "Overrated by the reward model",
        rows,
        "By how much more often the reward model expects a model to be preferred to the others in its rankings than "
        "people do prefer it. A policy that stands out to the right of where it started has found what the reward "
        "model likes and people don't: over-optimisation, on the same items.",
        "Why: read such completions in the explorer.",
        low=-end,
        high=end,
        middle=0.0,
        notes="People prefer it",
    )


def _rewards(model: Model, result: Mapping[str, Any]) -> Figure:
    rows = [Row(row["model"], _estimate(row)) for row in result["rewards"]]
    ends = [end for row in rows for end in row.estimate.ends]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    return Figure(
        f"rewards_{model.id}",
        "Mean reward",
        rows,
        "The mean reward of what each model wrote and people ranked, a prompt counted once. A difference of 1 is odds "
        "of 2.7 to 1 for a pair.",
        "Anything between models that wrote for other prompts; and the best of several completions counts with the "
        "model that wrote them.",
        low=floor(2 * low) / 2,
        high=ceil(2 * high + 0.1) / 2,
        is_share=False,
    )


def _bench(model: Model, result: Mapping[str, Any]) -> Figure:
    rows = [Row(row["subset"] or "all pairs", _estimate(row)) for row in result.get("reward_bench", [])]
    return Figure(
        f"bench_{model.id}",
        "RewardBench",
        rows,
        "The share of pairs in which the chosen answer is ahead of every rejected one (Lambert et al. 2024).",
        "The benchmark's own score, which weighs its subsets; here each pair counts once.",
        middle=0.5,
        named="Subset",
    )


def _judged(model: Model, result: Mapping[str, Any]) -> Judged:
    """As the page of the model draws what its training held out."""
    whole = next((row for row in result["agreement"] if row["by"] == "all"), None)
    if whole is None:
        return judged_by(model, {})
    names = {
        "mean": "valid_accuracy",
        "low": "valid_accuracy_low",
        "high": "valid_accuracy_high",
        "pairs": "valid_pairs",
    }
    return judged_by(model, {**result, **{name: whole[key] for key, name in names.items() if key in whole}})


def curves(session: Session, project: Project) -> list[Curve]:
    """Of the newest runs that optimised a policy for a reward model, with two points or more."""
    query = select(Run).where(Run.project_id == project.id, Run.kind.in_(_OPTIMISED))
    runs = session.scalars(query.order_by(Run.created_at.desc()).limit(MOST_RUNS))
    made = [_curve(session, run) for run in runs]
    return [curve for curve in made if len(curve.points) > 1]


def _curve(session: Session, run: Run) -> Curve:
    rows = session.execute(
        select(RunMetric.step, RunMetric.values).where(RunMetric.run_id == run.id).order_by(RunMetric.step)
    ).all()
    held_out = [(step, values) for step, values in rows if values.get("valid_reward") is not None]
    if len(held_out) > 1:
        return Curve(run, _points(held_out, "valid_reward", "valid_reward_watch"), is_held_out=True)
    return Curve(run, _points([(step, values) for step, values in rows], "reward", "reward_watch"), is_held_out=False)


def _points(rows: Sequence[tuple[int, Mapping[str, Any]]], reward: str, watching: str) -> list[Point]:
    return [
        Point(step, sqrt(max(0.0, values["kl"])), values[reward], values.get(watching))
        for step, values in rows
        if values.get("kl") is not None and values.get(reward) is not None and isfinite(values["kl"])
    ]


def curve_as_csv(curve: Curve) -> str:
    return csv_of(
        ("step", "square_root_of_kl", "reward", "watching_reward"),
        ((point.step, point.distance, point.reward, "" if point.watching is None else point.watching)
         for point in curve.points),
    )  # fmt: skip
