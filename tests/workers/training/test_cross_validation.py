"""Cross-validation over labelers: who is held out, what each training may see, and how the table comes about."""

import statistics
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from app.datasets.examples import Ranking
from app.runs.configs import CrossValidationConfig
from tests.workers.tiny import CONTEXT, ranking
from workers.training.batching import encode_completion
from workers.training.cross_validation import cross_validate, labeler_groups, make_folds
from workers.training.loop import CannotTrain, Outcome, Signal, Step

pytestmark = pytest.mark.train

CONFIG = CrossValidationConfig(
    max_prompt_tokens=40, max_completion_tokens=60, batch_size=4, micro_batch_size=4, learning_rate=1e-3, seeds=2,
    checkpoint_every=2, threads=1,
)  # fmt: skip


def labeled(counts: dict[str, int], *, valid: int = 1) -> list[Ranking]:
    """So many rankings by each labeler, all of prompts of their own, the first `valid` of them held out."""
    rows = [(labeler, number) for labeler, count in counts.items() for number in range(count)]
    return [
        ranking(i, [f"{labeler} says {number} good.", "Bad.", f"Worse {number}."], [1, 2, 3], labeler=labeler,
                split="valid" if number < valid else "train")
        for i, (labeler, number) in enumerate(rows)
    ]  # fmt: skip


def run(
    folder: Path, base: Path, given: list[Ranking], *, stop: int = 0, config: CrossValidationConfig = CONFIG
) -> tuple[Outcome, list[Step]]:
    steps: list[Step] = []

    def on_step(step: Step) -> Signal:
        steps.append(step)
        return Signal.STOP if step.number == stop else Signal.CONTINUE

    return cross_validate(config, given, on_step, base=base, checkpoints=folder), steps


def test_labelers_fall_into_groups_of_about_equal_data() -> None:
    counts = {"ann": 40, "ben": 30, "cat": 20, "dan": 15, "eve": 15, "fay": 10, "gus": 5, "hal": 5}
    groups = labeler_groups(labeled(counts), 5)
    assert sorted(labeler for group in groups for labeler in group) == sorted(counts)
    sizes = [sum(counts[labeler] for labeler in group) for group in groups]
    assert sizes == [40, 30, 25, 25, 20]
    assert labeler_groups(labeled({"ann": 3, "ben": 2}), 5) == [["ann"], ["ben"]]


def test_a_training_never_sees_the_held_out_labelers_nor_the_prompts_it_is_judged_on(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    given = labeled({"ann": 6, "ben": 6, "cat": 6})
    shared = [ranking(0, ["Shared.", "Else."], [1, 2], prompt_id="shared", labeler=who) for who in ("ann", "ben")]
    folds = make_folds(CONFIG, [*given, *shared], tokenizer, context=CONTEXT)
    assert [fold.labelers for fold in folds] == [["ann"], ["ben"], ["cat"]]
    for fold in folds:
        (held_out,) = fold.labelers
        told = {who: encode_completion(tokenizer, f"{who} says 3 good.") for who in ("ann", "ben", "cat")}
        trained = [completion for element in fold.train for completion in element.completions]
        assert told[held_out] not in trained
        assert all(told[who] in trained for who in told if who != held_out)
        judged = [completion for element in fold.held_out_labelers for completion in element.completions]
        assert told[held_out] in judged
        assert len(fold.held_out_labelers) == 6, "the prompt that the others ranked too is left out"
        assert len(fold.training_labelers) == 2, "validation prompts of the two labelers that it learned from"


def test_the_table_has_every_group_and_seed_and_its_mean_and_error_are_theirs(base: Path, tmp_path: Path) -> None:
    outcome, steps = run(tmp_path, base, labeled({"ann": 5, "ben": 5, "cat": 5, "dan": 4}))
    rows = outcome.report["trainings_table"]
    assert [(row["fold"], row["seed"]) for row in rows] == [(fold, seed) for seed in (1, 2) for fold in (1, 2, 3, 4)]
    assert [group["labelers"] for group in outcome.report["groups"]] == [1, 1, 1, 1]
    for kind in ("held_out_labelers", "training_labelers"):
        seen = [row[f"{kind}_accuracy"] for row in rows]
        assert outcome.metrics[f"{kind}_accuracy"] == pytest.approx(sum(seen) / 8)
        assert outcome.metrics[f"{kind}_error"] == pytest.approx(statistics.stdev(seen) / 8**0.5)
    assert rows[0]["held_out_labelers_pairs"] == 5 * 3
    assert rows[0]["training_labelers_pairs"] == 3 * 3
    assert steps[-1].number == steps[-1].total == len(steps) == outcome.step
    told = [
        step.metrics["held_out_labelers_accuracy"] for step in steps if "held_out_labelers_accuracy" in step.metrics
    ]
    assert told == [row["held_out_labelers_accuracy"] for row in rows], "the curves show each training's figure"


def test_it_learns_what_labelers_share(base: Path, tmp_path: Path) -> None:
    given = [
        ranking(i, [f"The dog ran {i}.", f"No {i}."], [1, 2], labeler=f"l{i % 5}", split="valid" if i < 10 else "train")
        for i in range(60)
    ]
    config = CONFIG.model_copy(update={"epochs": 4, "learning_rate": 3e-3, "seeds": 1})
    outcome, _ = run(tmp_path, base, given, config=config)
    assert outcome.metrics["trainings"] == 5
    assert outcome.metrics["held_out_labelers_accuracy"] > 0.95
    assert outcome.metrics["training_labelers_accuracy"] > 0.95


@pytest.mark.parametrize("stop", [1, 2, 3, 7])
def test_stopped_within_and_between_trainings_it_goes_on_to_the_same_table(
    base: Path, tmp_path: Path, stop: int
) -> None:
    given = labeled({"ann": 5, "ben": 5, "cat": 5})
    whole, steps = run(tmp_path / "whole", base, given)
    stopped, _ = run(tmp_path / "stopped", base, given, stop=stop)
    assert (stopped.finished, stopped.step) == (False, stop)
    ended, rest = run(tmp_path / "stopped", base, given)
    assert [step.number for step in rest] == list(range(stop + 1, len(steps) + 1))
    assert ended == whole


def test_too_little_is_refused_in_words(base: Path, tmp_path: Path) -> None:
    def refusal(given: list[Ranking]) -> str:
        with pytest.raises(CannotTrain) as refused:
            run(tmp_path, base, given)
        return str(refused.value)

    assert "by at least 2 labelers; there is 1" in refusal(labeled({"ann": 9}))
    assert "With group 1 (1 labelers) held out, 1 training rankings" in refusal(labeled({"ann": 6, "ben": 2}))
    assert "no rankings of validation prompts" in refusal(labeled({"ann": 6, "ben": 6}, valid=0))
    everyone = [
        ranking(i, ["a", "b"], [1, 2], prompt_id=str(i), labeler=who) for i in range(6) for who in ("ann", "ben")
    ]
    assert "ranked by others too" in refusal(everyone)
    assert not list(tmp_path.iterdir())
