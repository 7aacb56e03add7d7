"""Whole PPO runs on tiny real models: killed and resumed, stopped, refused, and learning what is rewarded."""

import json
import math
import string
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import AddedToken
from transformers import AutoModelForCausalLM

from app.datasets.examples import Prompt
from app.runs.ppo_config import PpoConfig
from tests.workers.training.test_ppo_networks import write_adapted
from tests.workers.training.tiny_ppo import (
    Steps,
    ppo_config,
    prompts,
    texts,
    tiny_tokenizer,
    write_letter_counter,
    write_letterless_template,
    write_policy,
    write_reward_model,
)
from workers.training import ppo
from workers.training.checkpoints import complete_checkpoints
from workers.training.loop import CannotTrain, Outcome, Step, TrainingFailed
from workers.training.models import load_policy
from workers.training.ppo_data import visits

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    write_policy(root / "policy")
    write_reward_model(root / "reward")
    write_letter_counter(root / "watch", scale=8.0)
    write_letterless_template(write_policy(root / "bare"))
    return root


def run(models: Path, folder: Path, on_step: Steps | None = None, *, watch: bool = True, **changes: object) -> Outcome:
    return ppo.train(
        ppo_config(**changes),
        prompts(),
        Steps() if on_step is None else on_step,
        policy=models / "policy",
        reward_model=models / "reward",
        watch=models / "watch" if watch else None,
        out=folder / "out",
        checkpoints=folder / "checkpoints",
        texts=texts(),
    )


def saved(folder: Path) -> dict[str, bytes]:
    """Every byte that a run leaves: the model, and the last checkpoint with weights, Adams and random states."""
    last = complete_checkpoints(folder / "checkpoints")[-1]
    files = [*sorted(path for path in (folder / "out").rglob("*") if path.is_file()), *sorted(last.iterdir())]
    return {file.name: file.read_bytes() for file in files if file.name != "README.md"}


def assert_same_end(left: Path, right: Path) -> None:
    ours, theirs = saved(left), saved(right)
    assert ours.keys() == theirs.keys()
    assert {"model.safetensors", "module-value.safetensors", "optimizer-policy.safetensors", "state.json"} <= set(ours)
    assert [name for name in ours if ours[name] != theirs[name]] == []


def numbers(steps: list[Step]) -> list[dict[str, float]]:
    return [timeless(step.metrics) for step in steps]


def timeless(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name != "episodes_per_second"}


EVERYTHING = {"kl_controller": "adaptive", "kl_horizon": 50, "keep": "best", "checkpoint_every": 2, "evaluate_every": 1}


@pytest.fixture(scope="module")
def whole(models: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Steps, Outcome]:
    """A run of four iterations that nothing interrupted."""
    folder, steps = tmp_path_factory.mktemp("whole"), Steps()
    return folder, steps, run(models, folder, steps, **EVERYTHING)


def test_30_a_stopped_run_keeps_a_checkpoint_and_goes_on_from_it(
    models: Path, whole: tuple[Path, Steps, Outcome], tmp_path: Path
) -> None:
    first = run(models, tmp_path, Steps(stop_after=1), **EVERYTHING)
    assert not first.finished
    assert first.step == 1
    assert not (tmp_path / "out").exists()
    steps = Steps()
    outcome = run(models, tmp_path, steps, **EVERYTHING)
    assert outcome.finished
    assert [step.number for step in steps] == [2, 3, 4]
    assert numbers(steps) == numbers(whole[1][1:])
    assert timeless(outcome.metrics) == timeless(whole[2].metrics)
    assert_same_end(tmp_path, whole[0])


def test_30_with_adapters_too(models: Path, tmp_path: Path) -> None:
    settings = {"lora_rank": 2, "episodes": 16, "checkpoint_every": 1}
    run(models, tmp_path / "whole", **settings)
    run(models, tmp_path / "parts", Steps(stop_after=1), **settings)
    run(models, tmp_path / "parts", **settings)
    assert_same_end(tmp_path / "parts", tmp_path / "whole")
    names = load_file(tmp_path / "whole" / "out" / "model.safetensors")
    assert not any("lora" in name for name in names)


def test_30_with_one_shared_base_an_ensemble_and_adapters_left_unmerged(models: Path, tmp_path: Path) -> None:
    write_adapted(tmp_path / "adapted", models / "policy", seed=3)
    settings = {"lora_rank": 2, "merge_lora": False, "episodes": 16, "checkpoint_every": 1, "ensemble": "min"}

    def go(folder: Path, steps: Steps) -> None:
        ppo.train(
            ppo_config(**settings), prompts(), steps, policy=models / "policy", reward_model=tmp_path / "adapted",
            others=[models / "reward"], out=folder / "out", checkpoints=folder / "checkpoints", texts=texts(),
        )  # fmt: skip

    whole = Steps()
    go(tmp_path / "whole", whole)
    go(tmp_path / "parts", Steps(stop_after=1))
    go(tmp_path / "parts", Steps())
    assert_same_end(tmp_path / "parts", tmp_path / "whole")
    assert whole[-1].metrics["reward_spread"] > 0
    before = load_file(models / "policy" / "model.safetensors")
    after = load_file(tmp_path / "whole" / "out" / "model.safetensors")
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    ours = load_policy(tmp_path / "whole" / "out")
    assert not torch.equal(ours.model.layers[0].mlp.up_proj.weight, before["model.layers.0.mlp.up_proj.weight"])


def test_a_finished_run_started_again_writes_the_same_model(models: Path, tmp_path: Path) -> None:
    run(models, tmp_path, episodes=8)
    first, steps = saved(tmp_path), Steps()
    assert run(models, tmp_path, steps, episodes=8).finished
    assert steps == []
    assert saved(tmp_path) == first


def test_each_iteration_reports_what_the_page_shows(whole: tuple[Path, Steps, Outcome]) -> None:
    _, steps, outcome = whole
    assert [(step.number, step.total, step.checkpointed) for step in steps] == [
        (1, 4, False), (2, 4, True), (3, 4, False), (4, 4, True),
    ]  # fmt: skip
    promised = {
        "reward", "reward_watch", "kl", "kl_k3", "length", "eos_share", "entropy", "repetition", "approx_kl",
        "clip_fraction",
        "policy_loss", "value_loss", "ptx_loss", "explained_variance", "learning_rate", "episodes",
        "episodes_per_second", "text_loss", "valid_reward", "valid_reward_watch", "best_valid_reward", "best_iteration",
    }  # fmt: skip
    assert all(promised <= set(step.metrics) for step in steps)
    assert steps[-1].metrics["episodes"] == 32
    assert steps[0].metrics["learning_rate"] == pytest.approx(1e-4)
    assert steps[2].metrics["learning_rate"] == pytest.approx(1e-3)
    assert {"text_loss_before", "text_loss", "valid_reward_before"} <= set(outcome.metrics)
    first, last = steps[0].samples, steps[-1].samples
    assert [sample.before for sample in first] == [sample.before for sample in last]
    assert all(isinstance(sample.reward_after, float) for sample in last)
    assert [sample.prompt for sample in last] == ["dog 0", "a cat 1"]


def test_best_so_far_is_the_highest_look_and_is_what_keep_best_saves(whole: tuple[Path, Steps, Outcome]) -> None:
    folder, steps, outcome = whole
    looks = [step.metrics["valid_reward_watch"] for step in steps]
    assert outcome.metrics["best_valid_reward"] == max(looks)
    assert outcome.metrics["best_iteration"] == looks.index(max(looks)) + 1
    best = load_file(complete_checkpoints(folder / "checkpoints")[-1] / "tensors-best.safetensors")
    written = load_file(folder / "out" / "model.safetensors")
    assert all(torch.equal(written[name], tensor) for name, tensor in best.items())


def test_30_the_best_so_far_is_remembered(models: Path, tmp_path: Path) -> None:
    run(models, tmp_path, Steps(stop_after=2), **EVERYTHING)
    file = complete_checkpoints(tmp_path / "checkpoints")[-1] / "state.json"
    state = json.loads(file.read_text())
    state["extra"]["best"] = {"best_valid_reward": 1e9, "best_iteration": 1.0}  # as if no later look could be better
    file.write_text(json.dumps(state))
    outcome = run(models, tmp_path, **EVERYTHING)
    assert outcome.metrics["best_iteration"] == 1
    best = load_file(file.parent / "tensors-best.safetensors")
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(written[name], tensor) for name, tensor in best.items())


def test_29_the_moving_average_is_what_is_saved(models: Path, tmp_path: Path) -> None:
    run(models, tmp_path, episodes=16)
    last = complete_checkpoints(tmp_path / "checkpoints")[-1]
    average, current = load_file(last / "tensors-ema.safetensors"), load_file(last / "module-policy.safetensors")
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(written[name], tensor) for name, tensor in average.items())
    assert any(not torch.equal(current[name], tensor) for name, tensor in average.items())
    run(models, tmp_path / "plain", episodes=16, ema=0)
    last = complete_checkpoints(tmp_path / "plain" / "checkpoints")[-1]
    assert not (last / "tensors-ema.safetensors").exists()
    written = load_file(tmp_path / "plain" / "out" / "model.safetensors")
    assert all(torch.equal(written[k], t) for k, t in load_file(last / "module-policy.safetensors").items())
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "plain" / "out")
    assert torch.equal(loaded.get_input_embeddings().weight, written["model.embed_tokens.weight"])


def test_25_the_run_changes_none_of_the_folders_it_reads(models: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in models.rglob("*") if path.is_file()}
    run(models, tmp_path, episodes=8)
    assert {path: path.read_bytes() for path in models.rglob("*") if path.is_file()} == before


def test_29_kl_stop_ends_the_run_with_the_policy_as_it_was(models: Path, tmp_path: Path) -> None:
    steps = Steps()
    outcome = run(models, tmp_path, steps, episodes=400, learning_rate=5e-3, kl_coefficient=0.0, kl_stop=0.3)
    assert outcome.finished
    assert len(steps) == outcome.step < 50
    assert outcome.metrics["kl_stopped"] == 1
    assert outcome.metrics["kl"] > 0.3
    assert all(step.metrics["kl"] <= 0.3 for step in steps[:-1])
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_29_numbers_that_are_none_fail_the_run_in_words(models: Path, tmp_path: Path) -> None:
    broken = write_reward_model(tmp_path / "broken", bias=math.nan)
    with pytest.raises(TrainingFailed, match="Step 1: the loss is nan"):
        ppo.train(
            ppo_config(),
            prompts(),
            Steps(),
            policy=models / "policy",
            reward_model=broken,
            out=tmp_path / "out",
            checkpoints=tmp_path / "checkpoints",
            texts=texts(),
        )
    assert not (tmp_path / "out").exists()


def refused(models: Path, folder: Path, config: PpoConfig, **changes: object) -> str:
    inputs = {"prompts": prompts(), "texts": texts(), "reward_model": models / "reward", "policy": models / "policy"}
    inputs |= changes
    given = inputs.pop("prompts")
    with pytest.raises(CannotTrain) as caught:
        ppo.train(config, given, Steps(), out=folder / "out", checkpoints=folder / "checkpoints", **inputs)
    assert not (folder / "checkpoints").exists()
    return str(caught.value)


def test_it_says_in_words_what_cannot_work(models: Path, tmp_path: Path) -> None:
    valid = [prompt for prompt in prompts() if prompt.split == "valid"]
    train = [prompt for prompt in prompts() if prompt.split == "train"]
    assert "no prompts in the train split" in refused(models, tmp_path, ppo_config(), prompts=[])
    assert "no prompts in the train split" in refused(models, tmp_path, ppo_config(), prompts=valid)
    assert "no plain text" in refused(models, tmp_path, ppo_config(), texts=[])
    assert "no validation prompts" in refused(models, tmp_path, ppo_config(keep="best"), prompts=train)
    assert "reads 96" in refused(models, tmp_path, ppo_config(max_prompt_tokens=90))
    assert "ptx_tokens is 97" in refused(models, tmp_path, ppo_config(ptx_tokens=97))
    assert "max_prompt_tokens" in refused(models, tmp_path, ppo_config(max_prompt_tokens=5))
    assert "not a reward model" in refused(models, tmp_path, ppo_config(), reward_model=models / "policy")
    assert "not a causal language model" in refused(models, tmp_path, ppo_config(), policy=models / "reward")


def test_it_refuses_a_reward_model_of_another_vocabulary(models: Path, tmp_path: Path) -> None:
    other = write_reward_model(tmp_path / "other")
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(AddedToken("<new>"))
    tokenizer.save_pretrained(other)
    said = refused(models, tmp_path, ppo_config(), reward_model=other)
    assert "do not share their tokenizer (258 and 259 tokens)" in said


def test_another_runs_checkpoint_is_refused(models: Path, tmp_path: Path) -> None:
    run(models, tmp_path, episodes=8)
    with pytest.raises(CannotTrain, match="other settings or other data"):
        run(models, tmp_path, episodes=8, kl_coefficient=0.7)


def test_each_pass_plays_every_prompt_once() -> None:
    played = [i for first in range(0, 30, 5) for i in visits(10, first, 5, seed=3)]
    for start in (0, 10, 20):
        assert sorted(played[start : start + 10]) == list(range(10))
    assert played[:10] != played[10:20]
    assert visits(3, 4, 7, seed=0) == (visits(3, 0, 12, seed=0))[4:11]


def test_a_card_says_what_the_policy_is_made_of(whole: tuple[Path, Steps, Outcome]) -> None:
    card = (whole[0] / "out" / "README.md").read_text()
    assert "PPO-ptx policy" in card
    assert "moving average" in card
    assert "| kl_coefficient | 0.1 |" in card
    state = json.loads((complete_checkpoints(whole[0] / "checkpoints")[-1] / "state.json").read_text())
    assert state["extra"]["optimizer_steps"] == 8


def learn_letters(models: Path, folder: Path, **changes: object) -> Steps:
    steps = Steps()
    settings = {
        "episodes": 32 * 16, "batch_size": 32, "minibatch_size": 8, "micro_batch_size": 8, "inner_epochs": 2,
        "learning_rate": 1e-2, "value_learning_rate": 1e-2, "kl_coefficient": 0.05, "missing_eos_penalty": 0,
        "ptx_coefficient": 0, "max_completion_tokens": 16, "checkpoint_every": 100, "evaluate_every": 100,
    }  # fmt: skip
    ppo.train(
        ppo_config(**(settings | changes)),
        [Prompt(f"p{i}", [{"role": "user", "content": f"{i} + {i}"}], "train" if i else "valid") for i in range(13)],
        steps,
        policy=models / "bare",
        reward_model=models / "watch",  # its score is the share of letters
        out=folder / "out",
        checkpoints=folder / "checkpoints",
    )
    return steps


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.prove) for seed in (2, 3, 4))])
def test_31_ppo_raises_a_known_reward_with_bounded_kl(models: Path, tmp_path: Path, seed: int) -> None:
    steps = learn_letters(models, tmp_path, seed=seed)
    assert steps[-1].metrics["reward"] > steps[0].metrics["reward"] + 8
    assert 10 < steps[-1].metrics["kl"] < 70  # sixteen letters where one in ten was one: 16 log 10 and a little
    samples = steps[-1].samples
    assert mean_share([s.after for s in samples]) > mean_share([s.before for s in samples]) + 0.5


def mean_share(completions: list[str]) -> float:
    """Of letters among a completion's characters, on average."""
    shares = [sum(letter in string.ascii_lowercase for letter in text) / max(1, len(text)) for text in completions]
    return sum(shares) / len(shares)


def test_31_a_larger_penalty_keeps_the_policy_nearer(models: Path, tmp_path: Path) -> None:
    tight = learn_letters(models, tmp_path, kl_coefficient=1.0)
    assert tight[-1].metrics["kl"] < 10, "the test above lets it go further than that"
