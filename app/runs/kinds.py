"""The config of each kind of run."""

from app.runs.configs import PpoConfig, RewardModelConfig, RunConfig, RunKind, SamplingConfig, SftConfig
from app.runs.newer_configs import DpoConfig, RlooConfig

CONFIGS: dict[RunKind, type[RunConfig]] = {
    RunKind.sft: SftConfig,
    RunKind.reward_model: RewardModelConfig,
    RunKind.ppo: PpoConfig,
    RunKind.dpo: DpoConfig,
    RunKind.rloo: RlooConfig,
    RunKind.sampling: SamplingConfig,
}
