"""A contest of prefixes, read: mean rewards, and how far each candidate is behind the winner on the same prompts."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.errors import NotFound
from app.core.spreadsheet import csv_of
from app.evals.figures import Figure, Row
from app.evals.spread import Clusters, Estimate, Floats, mean_of
from app.projects.models import Project
from app.runs.configs import RunKind
from app.runs.models import Run

BARE = "without a prefix"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of the competitors, over the prompts that all of them could read."""

    name: str
    prefix_id: uuid.UUID | None
    rewards: Floats  # (prompts,)
    mean: Estimate
    behind: Estimate | None  # less than the winner's, prompt by prompt; none: it is the winner
    ended: float  # share of its completions that ended before the limit
    length: float  # tokens

    @property
    def is_told(self) -> bool:
        """Whether it is below the winner beyond what other prompts would give."""
        return self.behind is not None and self.behind.has_interval and self.behind.high < 0


@dataclass(frozen=True, slots=True)
class Contest:
    """The best first."""

    candidates: list[Candidate]
    prompts: list[str]  # ids of those that all could read
    left_out: int

    @property
    def winner(self) -> Candidate:
        return self.candidates[0]


def contests_of(session: Session, project: Project) -> list[Run]:
    """The newest first, also those that are not over."""
    query = select(Run).where(Run.project_id == project.id, Run.kind == RunKind.prefix_contest)
    return list(session.scalars(query.order_by(Run.created_at.desc(), Run.id)))


def contest_of(session: Session, project: Project, run_id: uuid.UUID) -> tuple[Run, Contest | None]:
    """The run, and its result where there is one."""
    run = session.get(Run, run_id)
    if run is None or run.project_id != project.id or run.kind != RunKind.prefix_contest:
        raise NotFound("There is no such contest in this project.")
    return run, result_of(run)


def result_of(run: Run) -> Contest | None:
    return read_contest(run.result["contest"]) if "contest" in run.result else None


def read_contest(said: dict[str, Any]) -> Contest:
    """Prompts that one of the candidates could not read are left out for all: the comparison is prompt by prompt."""
    rewards = np.array([each["rewards"] for each in said["candidates"]], dtype=np.float64)  # (candidates, prompts)
    whole = ~np.any(np.isnan(rewards), axis=0, keepdims=True)[0]  # (prompts,)
    own = rewards[:, whole]
    prompts = [prompt for prompt, is_in in zip(said["prompts"], whole, strict=True) if is_in]
    if not prompts:
        return Contest([], [], len(whole))
    best = int(np.argmax(own.mean(axis=1)))
    candidates = [
        Candidate(
            each["name"] or BARE,
            uuid.UUID(each["prefix"]) if each["prefix"] else None,
            own[number],
            _over_prompts(own[number]),
            None if number == best else _over_prompts(own[number] - own[best]),
            each["ended"],
            each["length"],
        )
        for number, each in enumerate(said["candidates"])
    ]
    candidates.sort(key=lambda each: -each.mean.mean)
    return Contest(candidates, prompts, len(whole) - len(prompts))


def _over_prompts(values: Floats) -> Estimate:
    found = mean_of(values, Clusters.each_alone(len(values)))
    assert found is not None, "there is a prompt"
    return found


def figures_of(contest: Contest) -> list[Figure]:
    """The means, and the differences that decide."""
    means = [Row(each.name, each.mean) for each in contest.candidates]
    behind = [
        Row(each.name, each.behind, "told apart" if each.is_told else "not told apart")
        for each in contest.candidates
        if each.behind
    ]
    return [
        Figure(
            "reward",
            "Mean reward",
            means,
            "What the reward model gave to the completions after each prefix, on average over the validation prompts.",
            "What people would prefer: have them compare the winner with what is to beat.",
            *_axis([each.estimate for each in means]),
            is_share=False,
        ),
        Figure(
            "behind",
            f"Behind {contest.winner.name}",
            behind,
            "Each candidate's reward less the winner's, prompt by prompt: easy and hard prompts drop out.",
            "That the winner is the best of all prefixes: of candidates not told apart from it, chance chose.",
            *_axis([each.estimate for each in behind], also=0.0),
            middle=0.0,
            is_share=False,
        ),
    ]


def _axis(estimates: Sequence[Estimate], *, also: float | None = None) -> tuple[float, float]:
    """Round ends around all intervals."""
    ends = [end for each in estimates for end in each.ends]
    ends += [] if also is None else [also]
    low, high = min(ends), max(ends)
    unit = 10.0 ** np.floor(np.log10(max(high - low, 1e-3)))
    first, last = float(np.floor(low / unit) * unit), float(np.ceil(high / unit) * unit)
    return round(first, 6), round(last if last > first else first + float(unit), 6)


def summary_csv(contest: Contest) -> str:
    columns = (
        "prefix", "mean_reward", "low_95", "high_95", "behind_winner", "behind_low_95", "behind_high_95", "prompts",
        "ended_share", "mean_tokens",
    )  # fmt: skip
    return csv_of(
        columns,
        (
            (each.name, each.mean.mean, *each.mean.interval_cells, *_difference(each.behind), len(contest.prompts),
             each.ended, each.length)
            for each in contest.candidates
        ),
    )  # fmt: skip


def _difference(behind: Estimate | None) -> tuple[float | str, float | str, float | str]:
    return (behind.mean, *behind.interval_cells) if behind else ("", "", "")


def prompts_csv(contest: Contest) -> str:
    """Every prompt's reward after each prefix."""
    names = [each.name for each in contest.candidates]
    rows = (
        (prompt, *(float(each.rewards[i]) for each in contest.candidates)) for i, prompt in enumerate(contest.prompts)
    )
    return csv_of(("prompt_id", *names), rows)
