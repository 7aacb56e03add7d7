"""What a run needs at least: one arithmetic for the form, the line and the worker."""

import pytest

from app.runs.configs import RewardModelConfig, RunKind, SamplingConfig, SftConfig
from app.runs.needs import needs_of
from app.runs.ppo_config import PpoConfig

B = 10**9


@pytest.mark.parametrize(
    ("kind", "config", "sizes", "gpu", "cpu"),
    [
        (RunKind.sft, SftConfig(), {"base": B}, 16 * B, 16 * B),
        (RunKind.sft, SftConfig(lora_rank=8), {"base": B}, 4 * B, 4 * B),
        (RunKind.sft, SftConfig(processes=2, batch_size=8), {"base": B}, 16 * B, 32 * B),
        (RunKind.reward_model, RewardModelConfig(processes=4, batch_size=8, sharded=True), {"base": B}, 8 * B, 32 * B),
        (RunKind.ppo, PpoConfig(), {"policy": B, "reward_model": B, "watch": B // 2}, 46 * B, 46 * B),
        (RunKind.sampling, SamplingConfig(), {"model": B, "model_2": 9 * B, "reward_model": B}, 8 * B, 8 * B),
    ],
)
def test_each_kind_needs_its_weights_and_what_training_keeps_beside_them(kind, config, sizes, gpu, cpu) -> None:
    needs = needs_of(kind, config, sizes)
    assert (needs.gpu, needs.cpu) == (gpu, cpu)
