"""Presets of a new run: the paper's values at its three sizes, scaled ones below, and where each value is from."""

from typing import Any

import pytest

from app.runs.configs import RewardModelConfig, RunKind, SftConfig
from app.runs.kinds import CONFIGS
from app.runs.ppo_config import PpoConfig
from app.runs.presets import REC, SCALED, Preset, defaults_for, nearest_size, presets

SIZES = [260_000, 5_000_000, 135_000_000, 1_300_000_000, 7_000_000_000, 70_000_000_000]


@pytest.mark.parametrize("kind", RunKind)
@pytest.mark.parametrize("size", SIZES)
def test_defaults_hold_at_every_size(kind: RunKind, size: int) -> None:
    config = defaults_for(kind, size)
    assert type(config) is CONFIGS[kind]
    assert CONFIGS[kind].model_validate(config.model_dump()) == config


@pytest.mark.parametrize("kind", RunKind)
def test_a_large_model_starts_from_the_paper(kind: RunKind) -> None:
    assert defaults_for(kind, 1_300_000_000) == CONFIGS[kind]()


@pytest.mark.parametrize("kind", [RunKind.sft, RunKind.reward_model, RunKind.ppo, RunKind.dpo, RunKind.rloo])
def test_smaller_models_start_from_larger_learning_rates(kind: RunKind) -> None:
    rates = [defaults_for(kind, size).learning_rate for size in (5_000_000, 1_300_000_000)]
    assert rates[0] > 3 * rates[1]


@pytest.mark.parametrize("kind", RunKind)
def test_a_tiny_model_of_512_tokens_fits_its_own_defaults(kind: RunKind) -> None:
    config = defaults_for(kind, 5_000_000)
    assert config.max_prompt_tokens + config.max_completion_tokens + 1 <= 512


@pytest.mark.parametrize(
    ("parameters", "size"),
    [(1_000_000_000, "1.3B"), (2_700_000_000, "1.3B"), (2_900_000_000, "6B"), (13_000_000_000, "6B"),
     (32_000_000_000, "6B"), (33_000_000_000, "175B"), (10**12, "175B")],
)  # fmt: skip
def test_the_nearest_of_the_papers_sizes_is_the_nearest_in_ratio(parameters: int, size: str) -> None:
    assert nearest_size(parameters) == size


def named(kind: RunKind, name: str, *, parameters: int = 5_000_000) -> Preset:
    return next(preset for preset in presets(kind, parameters) if preset.name == name)


@pytest.mark.parametrize(
    ("name", "learning_rate", "batch_size", "epochs", "mix"),
    [
        ("paper-1.3b", 9.65e-6, 32, 16, 0.0),  # C.1
        ("paper-6b", 9.65e-6, 32, 16, 0.0),
        ("paper-175b", 5.03e-6, 8, 16, 0.0),
        ("initial-1.3b", 5e-6, 32, 2, 0.1),  # C.3
        ("initial-6b", 1.04e-5, 32, 2, 0.1),
        ("initial-175b", 2.45e-6, 8, 2, 0.1),
    ],
)
def test_sft_at_the_papers_sizes(name: str, learning_rate: float, batch_size: int, epochs: int, mix: float) -> None:
    config = named(RunKind.sft, name).config
    assert isinstance(config, SftConfig)
    assert (config.learning_rate, config.batch_size) == (learning_rate, batch_size)
    assert (config.epochs, config.pretraining_mix, config.dropout) == (epochs, mix, 0.2)


def test_ppo_at_the_papers_sizes() -> None:
    configs = [named(RunKind.ppo, f"paper-{size}").config for size in ("1.3b", "6b", "175b")]
    assert all(isinstance(config, PpoConfig) for config in configs)
    assert [config.value_learning_rate for config in configs] == [9e-6, 9e-6, 5e-6]  # C.4
    assert {(config.batch_size, config.minibatch_size, config.kl_coefficient, config.ptx_coefficient)
            for config in configs} == {(512, 64, 0.02, 27.8)}  # fmt: skip
    assert configs[2].learning_rate in (2.55e-6, 3.74e-6), "the two that were tried at 175B (E.9)"


@pytest.mark.parametrize("parameters", [1_300_000_000, 7_000_000_000, 175_000_000_000])
def test_there_is_one_reward_model_of_6b_for_every_policy(parameters: int) -> None:
    assert defaults_for(RunKind.reward_model, parameters) == RewardModelConfig()
    assert [preset.name for preset in presets(RunKind.reward_model, parameters)] == ["size", "paper-6b"]


@pytest.mark.parametrize("kind", RunKind)
@pytest.mark.parametrize("size", SIZES)
def test_a_model_of_a_size_starts_from_the_preset_of_that_size(kind: RunKind, size: int) -> None:
    offered = presets(kind, size)
    assert offered[0].config == defaults_for(kind, size)
    assert len({preset.name for preset in offered}) == len({preset.title for preset in offered}) == len(offered)
    for preset in offered:
        assert all(preset.origin(name) for name in CONFIGS[kind].model_fields)


def test_every_value_says_where_it_is_from() -> None:
    small, large = presets(RunKind.ppo, 5_000_000)[0], presets(RunKind.ppo, 1_300_000_000)[0]
    assert (small.origin("batch_size"), large.origin("batch_size")) == (SCALED, "The paper's value (C.4)")
    assert (small.origin("gae_lambda"), large.origin("gae_lambda")) == (REC, REC)
    initial = named(RunKind.sft, "initial-6b")
    assert initial.origin("epochs") == initial.origin("learning_rate") == "The paper's value (C.3)"
    assert initial.origin("dropout") == "The paper's value (C.1)"


@pytest.mark.parametrize("parameters", [5_000_000, 135_000_000])
def test_a_small_models_initial_policy_is_its_own_sft_with_the_papers_epochs_and_mix(parameters: int) -> None:
    sft, initial = defaults_for(RunKind.sft, parameters), named(RunKind.sft, "initial", parameters=parameters).config
    expected: dict[str, Any] = {**sft.model_dump(), "epochs": 2, "pretraining_mix": 0.1}
    assert initial.model_dump() == expected
