"""Supervised fine-tuning: the loss against a slow reference, whole runs, refusals."""

import itertools
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from app.datasets.examples import Demonstration, Text
from app.runs.configs import SftConfig
from tests.workers.tiny import CONTEXT, ask, demonstrations, save_base, tiny_config
from workers.training import sft
from workers.training.batching import encode_completion, encode_prompt
from workers.training.checkpoints import complete_checkpoints
from workers.training.demonstrations import Row, prepare
from workers.training.dropout import add_residual_dropout
from workers.training.loop import CannotTrain, Outcome, Signal, Step, TrainingFailed, cosine
from workers.training.models import load_policy, load_tokenizer, new_reward_model, save_reward_model

pytestmark = pytest.mark.train

CONFIG = SftConfig(
    max_prompt_tokens=40, max_completion_tokens=60, batch_size=4, micro_batch_size=2, epochs=2, learning_rate=1e-3
)


class Recorder:
    """Keeps every step; stops the run after step `stop`."""

    def __init__(self, stop: int = 0) -> None:
        self.steps: list[Step] = []
        self.stop = stop

    def __call__(self, step: Step) -> Signal:
        self.steps.append(step)
        return Signal.STOP if step.number == self.stop else Signal.CONTINUE


def run(
    folder: Path,
    base: Path,
    examples: list[Demonstration],
    config: SftConfig = CONFIG,
    *,
    stop: int = 0,
    **more: object,
) -> tuple[Outcome, list[Step]]:
    recorder = Recorder(stop)
    places = {"base": base, "out": folder / "out", "checkpoints": folder / "checkpoints"}
    return sft.train(config, examples, recorder, **places, **more), recorder.steps


def changed(**changes: object) -> SftConfig:
    return SftConfig(**(CONFIG.model_dump() | changes))


def slow_nll(model: PreTrainedModel, row: Row) -> Tensor:
    """One row alone, unpadded: -log p of each completion token, one after the other."""
    ids = row.prompt + row.completion
    logprobs = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return -sum(logprobs[place - 1, ids[place]] for place in range(len(row.prompt), len(ids)))


def test_cosine_falls_to_a_tenth_without_warmup() -> None:
    factors = [cosine(step, 100, end=0.1) for step in range(101)]
    assert factors[0] == 1
    assert factors[50] == pytest.approx(0.55)
    assert factors[100] == pytest.approx(0.1)
    assert all(a > b for a, b in itertools.pairwise(factors))


def test_a_mixed_run_reports_the_loss_on_text(base: Path, tmp_path: Path) -> None:
    config = changed(pretraining_mix=0.25)
    _, steps = run(tmp_path, base, demonstrations(7), config, texts=[Text("A dog ran far. " * 9, "train")])
    assert len(steps) == 2 * math.ceil(7 / 3)  # a quarter of each batch of 4 is text
    assert all(step.metrics["text_loss"] > 0 for step in steps)


def test_residual_dropout_acts_in_training_only(base: Path) -> None:
    model, untouched, ids = load_policy(base), load_policy(base), torch.tensor([[5, 6, 7]])
    add_residual_dropout(model, 0.5)
    assert torch.equal(model(ids).logits, untouched(ids).logits)
    model.train()
    assert not torch.equal(model(ids).logits, model(ids).logits)
    assert model.state_dict().keys() == untouched.state_dict().keys()


def test_residual_dropout_drops_its_rate_and_keeps_the_mean(base: Path) -> None:
    model, seen = load_policy(base), []
    add_residual_dropout(model, 0.25)
    for layer in model.model.layers:
        layer.mlp.register_forward_hook(lambda module, args, output: seen.append(output))
    model.train()(torch.randint(2, 300, (8, 100)))
    dropped = torch.cat([output.flatten() for output in seen]) == 0
    assert dropped.float().mean().item() == pytest.approx(0.25, abs=0.01)


def test_a_run_fits_its_demonstrations_and_writes_an_ordinary_folder(base: Path, tmp_path: Path) -> None:
    config = changed(epochs=20, learning_rate=1e-2, dropout=0.0)
    outcome, steps = run(tmp_path, base, demonstrations(8, valid=2), config)
    assert outcome.finished
    assert outcome.step == len(steps) == 20 * math.ceil(6 / 4)
    assert steps[-1].metrics["loss"] < 0.2 * steps[0].metrics["loss"]
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.isfinite(theirs(torch.tensor([[5, 6]])).logits).all()
    card = (tmp_path / "out" / "README.md").read_text()
    for said in ("chosen by validation loss", "learning_rate", "best_valid_loss", "demonstrations"):
        assert said in card


def test_the_epoch_with_the_best_validation_loss_is_kept(base: Path, tmp_path: Path) -> None:
    # Held out: the same prompts with other completions, so that fitting well soon makes it worse.
    examples = demonstrations(8) + [Demonstration(f"v{i}", ask("dog"), "zqzq zq zqzq", "valid") for i in range(2)]
    outcome, steps = run(tmp_path, base, examples, changed(epochs=6, learning_rate=5e-3, dropout=0.0))
    losses = [step.metrics["valid_loss"] for step in steps if "valid_loss" in step.metrics]
    assert len(losses) == 6
    assert min(losses) < losses[-1]  # else this shows nothing
    assert outcome.metrics["best_epoch"] == 1 + losses.index(min(losses))
    model, tokenizer = load_policy(tmp_path / "out"), load_tokenizer(tmp_path / "out")
    data = prepare(CONFIG, examples, [], tokenizer, context=CONTEXT)
    kept = sum(slow_nll(model, row).item() for row in data.valid) / sum(row.targets for row in data.valid)
    assert kept == pytest.approx(min(losses), rel=1e-5)


def test_with_a_reward_model_the_epoch_with_the_best_reward_is_kept(
    base: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    torch.manual_seed(4)
    judge = new_reward_model(base, pad_token_id=1)
    save_reward_model(judge, tokenizer, tmp_path / "judge", card="")
    config = changed(epochs=5, learning_rate=5e-3, dropout=0.0)
    outcome, steps = run(tmp_path, base, demonstrations(9, valid=3), config, reward_model=tmp_path / "judge")
    epochs = [step for step in steps if "reward" in step.metrics]
    rewards = [step.metrics["reward"] for step in epochs]
    assert len(rewards) == 5
    assert outcome.metrics["best_epoch"] == 1 + rewards.index(max(rewards))
    assert outcome.metrics["best_reward"] == max(rewards)
    assert all("valid_loss" in step.metrics for step in epochs)  # both are recorded
    shown = epochs[0].samples
    assert [sample.reward_after for sample in shown] == pytest.approx(
        [
            judge.score_completions(
                [encode_prompt(tokenizer, [{"role": "user", "content": sample.prompt}])],
                [[encode_completion(tokenizer, sample.after)]],
            ).item()
            for sample in shown
        ],
        abs=1e-5,
    )
    assert sum(sample.reward_after for sample in shown) / 3 == pytest.approx(rewards[0], abs=1e-6)


def test_without_a_validation_split_the_last_epoch_is_kept_and_said(base: Path, tmp_path: Path) -> None:
    outcome, steps = run(tmp_path, base, demonstrations(6))
    assert outcome.metrics["best_epoch"] == 2
    assert outcome.metrics["validation_demonstrations"] == 0
    assert not any("valid_loss" in step.metrics for step in steps)
    assert "No validation split: the last epoch is kept." in (tmp_path / "out" / "README.md").read_text()


def test_lora_leaves_an_ordinary_model(base: Path, tmp_path: Path) -> None:
    run(tmp_path, base, demonstrations(6), changed(lora_rank=4, learning_rate=1e-2))
    before, after = load_file(base / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all("_proj" in name for name in moved)


def test_stopping_keeps_a_checkpoint_and_going_on_changes_nothing(base: Path, tmp_path: Path) -> None:
    examples = demonstrations(10, valid=2)
    whole, _ = run(tmp_path / "whole", base, examples)
    stopped, _ = run(tmp_path / "stopped", base, examples, stop=3)
    assert (stopped.finished, stopped.step) == (False, 3)
    assert not (tmp_path / "stopped" / "out").exists()
    assert complete_checkpoints(tmp_path / "stopped" / "checkpoints")[-1].name == "step-00000003"
    ended, steps = run(tmp_path / "stopped", base, examples)
    assert steps[0].number == 4
    assert ended.metrics == whole.metrics
    assert (tmp_path / "stopped/out/model.safetensors").read_bytes() == (
        tmp_path / "whole/out/model.safetensors"
    ).read_bytes()


def test_29_numbers_that_are_none_end_the_run_in_words_with_the_checkpoint_kept(base: Path, tmp_path: Path) -> None:
    config = changed(checkpoint_every=1, dropout=0.0).model_copy(update={"learning_rate": 1e30})
    with pytest.raises(TrainingFailed, match=r"Step 2: the loss is .* A lower learning rate"):
        run(tmp_path, base, demonstrations(8), config)
    assert [path.name for path in complete_checkpoints(tmp_path / "checkpoints")] == ["step-00000001"]


def test_29_a_gradient_that_is_none_never_reaches_the_weights(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base")
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"][0] = torch.nan
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TrainingFailed, match="Step 1: the loss is nan"):
        run(tmp_path, base, demonstrations(8))


class TestRefused:
    """Runs that cannot work, each with its reason in words, before any step is taken."""

    def refused(self, folder: Path, base: Path, examples: list[Demonstration], **changes: object) -> str:
        with pytest.raises(CannotTrain) as refusal:
            run(folder, base, examples, changed(**changes))
        assert not (folder / "checkpoints").exists()
        assert not (folder / "out").exists()
        return str(refusal.value)

    def test_no_demonstrations(self, base: Path, tmp_path: Path) -> None:
        assert "no demonstrations in the train split" in self.refused(tmp_path, base, [])

    def test_only_held_out_or_empty_demonstrations(self, base: Path, tmp_path: Path) -> None:
        empty = Demonstration("e", ask("dog"), "  ", "train")
        assert "no demonstrations" in self.refused(tmp_path, base, [*demonstrations(3, valid=3), empty])

    def test_limits_beyond_the_context(self, base: Path, tmp_path: Path) -> None:
        reason = self.refused(tmp_path, base, demonstrations(4), max_prompt_tokens=100, max_completion_tokens=100)
        assert "make 201 tokens, but this model reads 128. Set the two to 127 together at most." in reason

    def test_most_examples_too_long(self, base: Path, tmp_path: Path) -> None:
        examples = [Demonstration(str(i), ask("dog"), "zq" * 90, "train") for i in range(3)]
        reason = self.refused(tmp_path, base, [*examples, *demonstrations(2)])
        assert "3 of 5 demonstrations are longer than max_prompt_tokens 40 or max_completion_tokens 60" in reason

    def test_a_few_too_long_are_left_out_and_counted(self, base: Path, tmp_path: Path) -> None:
        long = Demonstration("long", ask("dog"), "zq" * 90, "train")
        outcome, _ = run(tmp_path, base, [long, *demonstrations(4)])
        assert (outcome.metrics["left_out"], outcome.metrics["demonstrations"]) == (1, 4)

    def test_a_mix_without_text(self, base: Path, tmp_path: Path) -> None:
        assert "there is no plain text" in self.refused(tmp_path, base, demonstrations(4), pretraining_mix=0.1)

    def test_checkpoints_of_another_run(self, base: Path, tmp_path: Path) -> None:
        run(tmp_path, base, demonstrations(8), stop=1)
        with pytest.raises(CannotTrain, match="made with other settings or other data"):
            run(tmp_path, base, demonstrations(9))

    def test_a_policy_as_reward_model(self, base: Path, tmp_path: Path) -> None:
        with pytest.raises(CannotTrain, match="not a reward model"):
            run(tmp_path, base, demonstrations(8), reward_model=base)

    def test_a_reward_model_that_reads_less(
        self, base: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
    ) -> None:
        short = save_base(tmp_path / "short", tiny_config(max_position_embeddings=64))
        save_reward_model(new_reward_model(short, pad_token_id=1), tokenizer, tmp_path / "judge", card="")
        with pytest.raises(CannotTrain, match="this model reads 64"):
            run(tmp_path, base, demonstrations(8), reward_model=tmp_path / "judge")
