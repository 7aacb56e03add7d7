"""RLOO's trainer: its gradient against completions one by one, and whole runs on tiny real models."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import AddedToken
from torch import Tensor
from transformers import PreTrainedModel

from app.runs.newer_configs import RlooConfig
from tests.workers.training.tiny_ppo import (
    Steps,
    prompts,
    tiny_tokenizer,
    write_letter_counter,
    write_letterless_template,
    write_policy,
    write_reward_model,
)
from workers.training import rloo
from workers.training.loop import CannotTrain, Outcome, adamw
from workers.training.models import load_policy, load_tokenizer
from workers.training.ppo_update import Sums
from workers.training.rloo_episodes import Episodes, Networks, load_networks, play, prepare
from workers.training.rollout import Decoding, uniform_numbers

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    write_policy(root / "policy")
    write_reward_model(root / "reward")
    write_letterless_template(write_policy(root / "bare"))
    write_letterless_template(write_letter_counter(root / "letters"))
    return root


def config(**changes: object) -> RlooConfig:
    settings = {
        "episodes": 32, "batch_size": 8, "completions_per_prompt": 4, "minibatch_size": 8, "micro_batch_size": 4,
        "learning_rate": 1e-3, "warmup_iterations": 0, "max_prompt_tokens": 60, "max_completion_tokens": 10,
        "threads": 1, "checkpoint_every": 2, "evaluate_every": 2, "evaluation_prompts": 2, "kl_coefficient": 0.1,
    }  # fmt: skip
    return RlooConfig(**(settings | changes))


def run(models: Path, folder: Path, on_step: Steps | None = None, **changes: object) -> Outcome:
    return rloo.train(
        config(**changes), prompts(), Steps() if on_step is None else on_step, policy=models / "policy",
        reward_model=models / "reward", watch=models / "letters", out=folder / "out",
        checkpoints=folder / "checkpoints",
    )  # fmt: skip


def played(models: Path, settings: RlooConfig) -> tuple[Networks, Episodes, dict[str, float]]:
    networks = load_networks(settings, models / "policy", models / "reward", models / "letters")
    data = prepare(settings, prompts(), networks, load_tokenizer(models / "policy"))
    k = settings.completions_per_prompt
    uniforms = uniform_numbers(1, "test", shape=(3, k, settings.max_completion_tokens))
    decoding = Decoding(
        max_new_tokens=settings.max_completion_tokens, eos_ids=frozenset({0}), temperature=settings.temperature
    )
    return networks, *play(settings, networks, data.prompts[:3], uniforms, decoding=decoding, eos_id=0)


def logprob(model: PreTrainedModel, prompt: list[int], completion: list[int], *, temperature: float = 1.0) -> Tensor:
    """One conversation alone, its completion's tokens read off whole logits."""
    logits = model(torch.tensor([prompt + completion])).logits[0] / temperature
    logprobs = logits.log_softmax(-1)
    return torch.stack([logprobs[len(prompt) + t - 1, token] for t, token in enumerate(completion)]).sum()


def gradient(model: PreTrainedModel) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_episodes_are_measured_as_each_alone_would_be(models: Path, temperature: float) -> None:
    settings = config(temperature=temperature, missing_eos_penalty=0.5, max_completion_tokens=6)
    networks, episodes, metrics = played(models, settings)
    assert networks.reference is not None
    scores, rewards, kls = [], [], []
    for m, (prompt, group) in enumerate(zip(episodes.prompts, episodes.completions, strict=True)):
        for j, completion in enumerate(group):
            with torch.no_grad():
                own = logprob(networks.policy, prompt, completion, temperature=temperature)
                was = logprob(networks.reference, prompt, completion, temperature=temperature)
                ended = completion[-1] == 0
                read = torch.tensor([prompt + (completion if ended else [*completion, 0])])
                scores.append(networks.reward(read, torch.ones_like(read)).item())
            assert episodes.logprobs[m, j].item() == pytest.approx(own.item(), abs=1e-3)
            kls.append((own - was).item())
            rewards.append(scores[-1] - 0.1 * kls[-1] - 0.5 * (not ended))
    assert metrics["reward"] == pytest.approx(sum(scores) / len(scores), abs=1e-4)
    assert metrics["kl"] == pytest.approx(sum(kls) / len(kls), abs=1e-3)
    for m in range(3):
        own = rewards[4 * m : 4 * m + 4]
        slow = [own[i] - (sum(own) - own[i]) / 3 for i in range(4)]
        torch.testing.assert_close(episodes.advantages[m], torch.tensor(slow), rtol=1e-3, atol=1e-3)


def test_17_before_the_first_update_ratio_and_kl_are_nothing(models: Path, tmp_path: Path) -> None:
    steps = Steps(stop_after=1)
    run(models, tmp_path, steps)
    first = steps[0].metrics
    assert first["kl"] == pytest.approx(0, abs=1e-3)
    assert first["approx_kl"] == pytest.approx(0, abs=1e-5)
    assert first["clip_fraction"] == 0


@pytest.mark.parametrize("micro_batch_size", [1, 4, 12])
def test_the_first_gradient_is_reinforce_with_the_others_as_baseline(models: Path, micro_batch_size: int) -> None:
    settings = config(batch_size=12, minibatch_size=12, micro_batch_size=micro_batch_size)
    networks, episodes, _ = played(models, settings)
    rloo.accumulate(settings, networks, episodes, range(3), Sums())
    ours = gradient(networks.policy)
    networks.policy.zero_grad()
    terms = [
        -episodes.advantages[m, j] * logprob(networks.policy, episodes.prompts[m], completion)
        for m in range(3)
        for j, completion in enumerate(episodes.completions[m])
    ]
    (torch.stack(terms).sum() / 12).backward()
    torch.testing.assert_close(ours, gradient(networks.policy), rtol=1e-3, atol=1e-3 * float(ours.abs().max()))


def test_24_the_clipped_loss_is_its_equation_over_whole_completions(models: Path) -> None:
    settings = config(batch_size=12, minibatch_size=12, clip_range=0.1)
    networks, episodes, _ = played(models, settings)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in networks.policy.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
    sums = Sums()
    loss = rloo.accumulate(settings, networks, episodes, range(3), sums)
    slow, clipped = [], 0
    for m in range(3):
        for j, completion in enumerate(episodes.completions[m]):
            with torch.no_grad():
                change = logprob(networks.policy, episodes.prompts[m], completion) - episodes.logprobs[m, j]
            ratio, worth = math.exp(change), float(episodes.advantages[m, j])
            held = min(max(ratio, 0.9), 1.1)
            slow.append(-min(ratio * worth, held * worth))
            clipped += held * worth < ratio * worth
    assert clipped > 0
    assert loss == pytest.approx(sum(slow) / 12, rel=1e-3)
    assert sums.over(1)["clip_fraction"] == pytest.approx(clipped / 12)


@pytest.mark.parametrize(("minibatch_size", "micro_batch_size"), [(8, 8), (4, 2), (4, 1)])
def test_23_there_are_epochs_times_minibatches_steps(models: Path, minibatch_size: int, micro_batch_size: int) -> None:
    settings = config(
        batch_size=12, inner_epochs=3, minibatch_size=4 if minibatch_size == 4 else 12,
        micro_batch_size=micro_batch_size,
    )  # fmt: skip
    networks, episodes, _ = played(models, settings)
    optimizer = adamw(networks.policy.parameters(), settings, learning_rate=1e-3)
    rloo.update(settings, networks, optimizer, episodes, iteration=0)
    taken = {float(state["step"]) for state in optimizer.state.values()}
    assert taken == {3.0 * 12 / settings.minibatch_size}


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_28_the_reference_is_the_policy_at_the_start(models: Path, lora_rank: int) -> None:
    settings = config(batch_size=12, minibatch_size=12, lora_rank=lora_rank)
    networks, episodes, _ = played(models, settings)
    before = networks.ref_logprobs(episodes.prompts, episodes.completions, temperature=1.0)
    optimizer = adamw(networks.policy.parameters(), settings, learning_rate=1e-2)
    rloo.update(settings, networks, optimizer, episodes, iteration=0)
    after = networks.ref_logprobs(episodes.prompts, episodes.completions, temperature=1.0)
    assert torch.equal(before, after)
    now = networks.logprobs(episodes.prompts, episodes.completions, temperature=1.0)
    assert not torch.allclose(now, after)
    assert now.requires_grad


def test_a_stopped_run_goes_on_to_the_same_end(models: Path, tmp_path: Path) -> None:
    whole, steps = Steps(), Steps()
    run(models, tmp_path / "whole", whole)
    assert not run(models, tmp_path / "torn", Steps(stop_after=3)).finished
    assert run(models, tmp_path / "torn", steps).finished
    assert [step.number for step in steps] == [4]
    ends = [{k: v for k, v in s.metrics.items() if k != "episodes_per_second"} for s in (whole[-1], steps[-1])]
    assert ends[0] == ends[1]
    weights = [(tmp_path / name / "out/model.safetensors").read_bytes() for name in ("whole", "torn")]
    assert weights[0] == weights[1]


def test_looks_show_held_out_prompts_before_and_now(models: Path, tmp_path: Path) -> None:
    steps = Steps()
    outcome = run(models, tmp_path, steps)
    looks = [step for step in steps if step.samples]
    assert [step.number for step in looks] == [2, 4]
    assert [sample.prompt for sample in looks[0].samples] == ["dog 0", "a cat 1"]
    assert all(sample.reward_before is not None and sample.reward_after is not None for sample in looks[1].samples)
    assert {"valid_reward", "valid_reward_watch", "valid_reward_before", "reward_watch"} <= outcome.metrics.keys()


def test_29_a_policy_too_far_away_ends_the_run_with_what_it_has(models: Path, tmp_path: Path) -> None:
    steps = Steps()
    outcome = run(models, tmp_path, steps, learning_rate=3e-2, kl_stop=0.5, episodes=160)
    assert outcome.finished
    assert steps[-1].metrics["kl_stopped"] == 1
    assert len(steps) < 20
    load_policy(tmp_path / "out")


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.prove)])
def test_31_raises_a_known_reward_with_bounded_kl(models: Path, tmp_path: Path, seed: int) -> None:
    steps = Steps()
    rloo.train(
        config(
            episodes=1280, batch_size=64, minibatch_size=32, micro_batch_size=32, learning_rate=3e-3, inner_epochs=2,
            kl_coefficient=0.05, seed=seed, evaluate_every=20, missing_eos_penalty=0.0,
        ), prompts(), steps, policy=models / "bare", reward_model=models / "letters", out=tmp_path / "out",
        checkpoints=tmp_path / "checkpoints",
    )  # fmt: skip
    assert steps[-1].metrics["reward"] > steps[0].metrics["reward"] + 0.2
    assert 0 < steps[-1].metrics["kl"] < 20
    held_out = [(sample.reward_before, sample.reward_after) for sample in steps[-1].samples]
    assert held_out
    assert all(before is not None and after is not None and before < after for before, after in held_out)


def test_the_saved_policy_is_an_ordinary_folder_also_with_adapters(models: Path, tmp_path: Path) -> None:
    run(models, tmp_path, lora_rank=4)
    base, trained = (load_file(folder / "model.safetensors") for folder in (models / "policy", tmp_path / "out"))
    assert base.keys() == trained.keys()
    assert any(not torch.equal(base[name], trained[name]) for name in base)
    assert "# RLOO policy" in (tmp_path / "out" / "README.md").read_text()


def test_it_says_in_words_what_cannot_work(models: Path, tmp_path: Path) -> None:
    def train(given: list, reward_model: Path = models / "reward", **changes: object) -> None:
        rloo.train(config(**changes), given, Steps(), policy=models / "policy", reward_model=reward_model,
                   out=tmp_path / "out", checkpoints=tmp_path / "checkpoints")  # fmt: skip

    with pytest.raises(CannotTrain, match="no prompts in the train split"):
        train([prompt for prompt in prompts() if prompt.split == "valid"])
    with pytest.raises(CannotTrain, match="max_prompt_tokens"):
        train(prompts(), max_prompt_tokens=3)
    with pytest.raises(CannotTrain, match="this model reads 96"):
        train(prompts(), max_completion_tokens=90)
    foreign = write_reward_model(tmp_path / "foreign")
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([AddedToken("<|more|>")])
    tokenizer.save_pretrained(foreign)
    with pytest.raises(CannotTrain, match="do not share their tokenizer"):
        train(prompts(), foreign)


def test_recomputed_activations_change_nothing(models: Path, tmp_path: Path) -> None:
    weights = []
    for again in (False, True):
        run(models, tmp_path / str(again), episodes=16, activation_checkpointing=again)
        weights.append(load_file(tmp_path / str(again) / "out" / "model.safetensors"))
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=0, atol=1e-6)
