"""The checks of training where parts meet: what a trainer as a whole passes on to the parts that other tests prove."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from app.runs.configs import SftConfig
from app.runs.ppo_config import PpoConfig
from tests.workers.tiny import demonstrations, save_base, tiny_config
from tests.workers.training.killed import places, train_ppo, write_models
from tests.workers.training.tiny_ppo import Steps, collect, ppo_config, token_prompts
from workers.rlhf.gae import whiten
from workers.rlhf.kl import KL_ESTIMATORS
from workers.rlhf.ppo_losses import per_token_rewards
from workers.training import sft
from workers.training.batching import encode_completion, encode_prompt
from workers.training.checkpoints import complete_checkpoints
from workers.training.models import load_reward_model, load_tokenizer
from workers.training.ppo_experience import Experience
from workers.training.ppo_networks import Networks, load_networks, stack_rows
from workers.training.rollout import Decoding, uniform_numbers

pytestmark = pytest.mark.train

PROMPTS = token_prompts([5, 1, 9, 14, 3, 7, 2, 6])
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("all") / "models")


def ppo_steps(models: Path, folder: Path, **changes: object) -> Steps:
    steps = Steps()
    train_ppo(models, folder, steps, **{"kl_controller": "fixed", "keep": "last", "episodes": 32, **changes})
    return steps


def networks_of(models: Path, *, lora_rank: int = 0, moved: bool = False) -> Networks:
    """PPO's networks; `moved`: with a policy away from its reference, as after some steps."""
    networks = load_networks(models / "policy", models / "reward", watch=None, lora_rank=lora_rank)
    torch.manual_seed(9)
    with torch.no_grad():
        for parameter in networks.policy.parameters() if moved else []:
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return networks


def play(networks: Networks, config: PpoConfig, *, length: int = 10) -> Experience:
    decoding = Decoding(max_new_tokens=length, eos_ids=frozenset(range(25)), temperature=config.temperature)
    uniforms = uniform_numbers(5, "play", shape=(len(PROMPTS), 1, length))
    return collect(networks, PROMPTS, uniforms, config=config, decoding=decoding, kl_coefficient=0.3, eos_id=0)


def rewards_of(experience: Experience, config: PpoConfig) -> torch.Tensor:
    """The rewards by the definition, from what the experience keeps."""
    kl = KL_ESTIMATORS[config.kl_estimator](experience.logprobs, experience.ref_logprobs)
    penalty = {"missing_eos": experience.missing_eos, "missing_eos_penalty": config.missing_eos_penalty}
    return per_token_rewards(experience.scores, kl, experience.mask, kl_coefficient=0.3, **penalty)


def test_08_sft_judges_an_answer_with_the_end_token_that_rankings_have(models: Path, tmp_path: Path) -> None:
    config = SftConfig(epochs=1, max_prompt_tokens=40, max_completion_tokens=60, batch_size=4, micro_batch_size=2)
    steps = Steps()
    sft.train(
        config,
        demonstrations(9, valid=3),
        steps,
        base=models / "base",
        reward_model=models / "judge",
        **places(tmp_path),
    )
    judge, tokenizer = load_reward_model(models / "judge"), load_tokenizer(models / "judge")
    for sample in steps[-1].samples:
        prompt = encode_prompt(tokenizer, [{"role": "user", "content": sample.prompt}])
        completion = encode_completion(tokenizer, sample.after)
        row = torch.tensor([prompt + completion])
        assert completion[-1] == tokenizer.eos_token_id
        assert sample.reward_after == pytest.approx(judge(row, torch.ones_like(row)).item(), abs=1e-5)
    assert steps[-1].samples


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.5])
def test_12_a_run_draws_and_measures_at_the_one_temperature_of_its_config(
    models: Path, tmp_path: Path, temperature: float
) -> None:
    """Policy and reference are one model at the start: any other temperature on the way would be a KL."""
    first = ppo_steps(models, tmp_path, temperature=temperature, episodes=8)[0]
    assert first.metrics["kl"] == pytest.approx(0, abs=1e-4)
    assert first.metrics["kl_k3"] == pytest.approx(0, abs=1e-5)


def test_12_a_hotter_run_draws_more_surprising_tokens(models: Path, tmp_path: Path) -> None:
    entropies = [
        ppo_steps(models, tmp_path / str(t), temperature=t, episodes=8)[0].metrics["entropy"] for t in (0.3, 1.0, 3.0)
    ]
    assert entropies[0] < entropies[1] < entropies[2]


def test_16_sft_drops_nothing_but_what_its_setting_says(tmp_path: Path) -> None:
    """A base whose config asks for attention dropout trains to the very weights of one that does not."""
    config = SftConfig(
        epochs=2, max_prompt_tokens=40, max_completion_tokens=60, batch_size=4, micro_batch_size=2, dropout=0.0
    )
    written = []
    for name, rate in (("plain", 0.0), ("dropping", 0.5)):
        base = save_base(tmp_path / name / "base", tiny_config(attention_dropout=rate))
        sft.train(config, demonstrations(8), Steps(), base=base, **places(tmp_path / name))
        written.append(load_file(tmp_path / name / "out" / "model.safetensors"))
    assert all(torch.equal(written[0][name], written[1][name]) for name in written[0])


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_17_with_one_minibatch_an_iteration_the_ratio_is_always_one(
    models: Path, tmp_path: Path, lora_rank: int
) -> None:
    steps = ppo_steps(models, tmp_path, minibatch_size=8, lora_rank=lora_rank, learning_rate=1e-2)
    assert [step.metrics["clip_fraction"] for step in steps] == [0] * 4
    assert max(step.metrics["approx_kl"] for step in steps) < 1e-7
    assert steps[-1].metrics["kl_k3"] > 1e-3


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_18_what_is_penalised_is_the_estimator_of_the_config(models: Path, estimator: str) -> None:
    config = ppo_config(gae_lambda=1.0, kl_estimator=estimator, missing_eos_penalty=0.0)
    experience = play(networks_of(models, moved=True), config)
    kl = KL_ESTIMATORS[estimator](experience.logprobs, experience.ref_logprobs)
    assert float(kl.abs().max()) > 0.01
    expected = experience.scores - 0.3 * kl.sum(dim=1)
    assert torch.allclose(experience.returns[:, 0], expected, atol=1e-4)


def test_19_an_episode_of_one_token_gets_its_score_there_once(models: Path) -> None:
    config = ppo_config(gae_lambda=1.0, missing_eos_penalty=0.7)
    experience = play(networks_of(models), config, length=1)
    assert experience.mask.shape == (8, 1)
    assert torch.allclose(experience.returns[:, 0], experience.scores - 0.7 * experience.missing_eos, atol=1e-5)


def test_21_rewards_are_whitened_over_the_whole_iteration_and_keep_their_mean(models: Path) -> None:
    config = ppo_config(gae_lambda=1.0, whiten_rewards=True, micro_batch_size=2)
    experience = play(networks_of(models, moved=True), config)
    plain = rewards_of(experience, config)
    white = whiten(plain, experience.mask, shift_mean=False)
    assert torch.allclose(experience.returns[:, 0], white.sum(dim=1), atol=1e-4)
    kept = white[experience.mask]
    assert float(kept.mean()) == pytest.approx(float(plain[experience.mask].mean()), abs=1e-5)
    assert float(kept.var(unbiased=False)) == pytest.approx(1, abs=1e-3)


def test_23_adam_took_epochs_times_minibatches_steps_an_iteration(models: Path, tmp_path: Path) -> None:
    ppo_steps(models, tmp_path, inner_epochs=3, minibatch_size=2, micro_batch_size=1)
    last = complete_checkpoints(tmp_path / "checkpoints")[-1]
    for name in ("policy", "value"):
        state = load_file(last / f"optimizer-{name}.safetensors")
        assert {float(value) for key, value in state.items() if key.endswith(".step")} == {4 * 3 * 4}


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_25_values_start_as_the_reward_models_own_scores(models: Path, lora_rank: int) -> None:
    networks, judge = networks_of(models, lora_rank=lora_rank), load_reward_model(models / "reward")
    rows = stack_rows([PROMPTS[0]], [[30, 31, 32, 0]], device=CPU)
    scores = judge.token_scores(rows.ids, torch.ones_like(rows.ids))[rows.predicts]
    assert torch.allclose(networks.values(rows), scores, atol=1e-5)


def test_26_a_runs_penalty_follows_zieglers_rule(models: Path, tmp_path: Path) -> None:
    steps = ppo_steps(models, tmp_path, kl_controller="adaptive", kl_target=0.5, kl_horizon=50, learning_rate=1e-2)
    seen = [(step.metrics["kl_coefficient"], step.metrics["kl"]) for step in steps]
    assert seen[0][0] == 0.1
    for (before, kl), (after, _) in pairwise(seen):
        error = min(max(kl / 0.5 - 1, -0.2), 0.2)
        assert after == pytest.approx(before * (1 + error * 8 / 50))
    assert len({coefficient for coefficient, _ in seen}) == 4


def test_a_runs_schedules_are_those_of_its_config(models: Path, tmp_path: Path) -> None:
    ppo = ppo_steps(models, tmp_path / "ppo", warmup_iterations=2, warmup_start=0.5, learning_rate=1e-3)
    assert [step.metrics["learning_rate"] for step in ppo] == pytest.approx([5e-4, 7.5e-4, 1e-3, 1e-3])
    config = SftConfig(epochs=2, max_prompt_tokens=40, max_completion_tokens=60, batch_size=4, micro_batch_size=4)
    steps = Steps()
    flat = config.model_copy(update={"final_learning_rate": 1.0})
    sft.train(flat, demonstrations(8), steps, base=models / "base", **places(tmp_path / "sft"))
    assert {step.metrics["learning_rate"] for step in steps} == {flat.learning_rate}
