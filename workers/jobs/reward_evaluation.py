"""A reward evaluation: a reward model and people's rankings in, how alike both order completions out, no model."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from app.benchmarks.files import read_rows
from app.core.storage import get_artefacts
from app.datasets import service as datasets
from app.evals import reward_report
from app.evals.reward_report import RankedOnce
from app.runs import measuring, service
from app.runs.reward_evaluation_config import RewardEvaluationConfig
from workers.jobs.claimed import Claimed
from workers.jobs.patience import patiently
from workers.training.loop import Outcome
from workers.training.preferences import Judged, calibration, calibration_error, length_figures
from workers.training.reward_evaluation import Question, Scored, score

Row = Mapping[str, Any]
_COLUMNS = ("prompt_id", "messages", "completions", "ranks", "models", "split", "use_case", "labeler", "labeler_group",
            "simulated")  # fmt: skip


def work(claimed: Claimed) -> Outcome:
    config = claimed.config
    assert isinstance(config, RewardEvaluationConfig)
    rankings = _drawn(config, list(datasets.snapshot_rows(claimed.snapshots["comparisons"], columns=_COLUMNS)))
    places, bench = _places(rankings), _reward_bench(claimed)
    ranked = [Question(messages, list(completions)) for messages, completions in _distinct(rankings, places)]
    paired = [Question(row["messages"], [row["chosen"], *row["rejected"]]) for row in bench]
    rewards = score(
        config, [*ranked, *paired], claimed, reward_model=claimed.model_folder("reward_model"),
        checkpoints=claimed.checkpoints,
    )  # fmt: skip
    if not rewards.finished:
        return Outcome(finished=False, step=rewards.step, metrics={})
    result = _report(rankings, [rewards.scored[place] for place in places])
    if bench:
        result["reward_bench"] = _shares(bench, rewards.scored[len(ranked) :])
    patiently(lambda session: service.finish(session, claimed.run.id, claim=claimed.claim, result=result))
    return Outcome(finished=True, step=rewards.step, metrics={})


def _reward_bench(claimed: Claimed) -> list[Row]:
    """The rows of the file that the run was made with; none without one."""
    for file in patiently(lambda session: measuring.files_of(session, claimed.run)):
        with get_artefacts().local_file(file.storage_key) as path:
            return read_rows(path, file.benchmark)
    return []


def _shares(bench: Sequence[Row], scored: Sequence[Scored | None]) -> list[dict[str, Any]]:
    """The chosen one must be ahead of every other; level with the best of them it counts half."""
    known = [(row["subset"], own.rewards) for row, own in zip(bench, scored, strict=True) if own]
    ahead = [chosen - max(others) for _, (chosen, *others) in known]
    return reward_report.shares_of_pairs(
        [subset for subset, _ in known], [float(margin > 0) + 0.5 * (margin == 0) for margin in ahead]
    )


def _drawn(config: RewardEvaluationConfig, rankings: list[Row]) -> list[Row]:
    """Those of as many prompts as are wanted."""
    prompts = sorted({row["prompt_id"] for row in rankings})
    if not 0 < config.prompts < len(prompts):
        return rankings
    kept = set(random.Random(config.seed).sample(prompts, config.prompts))
    return [row for row in rankings if row["prompt_id"] in kept]


def _key(row: Row) -> tuple[str, ...]:
    return row["prompt_id"], *row["completions"]


def _places(rankings: Sequence[Row]) -> list[int]:
    """Which question each ranking is of: what several labelers ranked is scored once."""
    seen: dict[tuple[str, ...], int] = {}
    return [seen.setdefault(_key(row), len(seen)) for row in rankings]


def _distinct(rankings: Sequence[Row], places: Sequence[int]) -> list[tuple[Any, list[str]]]:
    first = {place: row for row, place in zip(reversed(rankings), reversed(places), strict=True)}
    return [(first[place]["messages"], first[place]["completions"]) for place in range(len(first))]


def _report(rankings: Sequence[Row], scored: Sequence[Scored | None]) -> dict[str, Any]:
    known = [(row, own) for row, own in zip(rankings, scored, strict=True) if own]
    unseen = [_judged(row, own) for row, own in known if row["split"] != "train"]
    judged = [each for each in unseen if each.pairs]
    bins = calibration(judged) if judged else []
    return {
        **reward_report.report([_ranked(row, own) for row, own in known]),
        "left_out": len(rankings) - len(known),
        "cut": sum(own.cut for own in {id(own): own for _, own in known}.values()),
        "calibration": bins,
        "calibration_error": calibration_error(bins) if bins else None,
        **(length_figures(judged) if judged else {}),
    }


def _ranked(row: Row, scored: Scored) -> RankedOnce:
    return RankedOnce(
        row["prompt_id"], row["labeler"], row["labeler_group"], row["use_case"], row["split"] != "train",
        row["simulated"], row["ranks"], row["models"], scored.rewards,
    )  # fmt: skip


def _judged(row: Row, scored: Scored) -> Judged:
    ranks = row["ranks"]
    pairs = [(i, j) for i in range(len(ranks)) for j in range(len(ranks)) if ranks[i] < ranks[j]]
    return Judged(scored.rewards, scored.lengths, pairs, rankings=1)
