"""The values that a new run's form starts from, by the size of its model."""

from typing import Any

from app.runs.configs import CONFIGS, RunConfig, RunKind

LARGE = 1_000_000_000  # parameters from which the paper's own values are the defaults (its smallest model had 1.3e9)
TINY = 50_000_000  # parameters under which a model wants the learning rates of a from-scratch model

_TINY_LENGTHS = {"max_prompt_tokens": 128, "max_completion_tokens": 192}
_SMALL_LENGTHS = {"max_prompt_tokens": 384, "max_completion_tokens": 192}

# The paper's text gradient is weighed against a policy gradient at a model that has converged on its pretraining
# text. A model of a few million parameters has not, its text gradient is far larger, and 27.8 would be pretraining.
# Its value network has to learn fast: a reward model's score in the middle of a completion, where values start, says
# little, and until they are right PPO takes them for reasons not to end (explained variance -7; after 8 iterations
# -6 at 1e-4, -0.7 at 1e-3).
_TINY: dict[RunKind, dict[str, Any]] = {
    RunKind.sft: {"epochs": 4, "learning_rate": 1e-3, "batch_size": 16, "micro_batch_size": 16, "dropout": 0.1},
    RunKind.reward_model: {"learning_rate": 5e-4, "batch_size": 8, "micro_batch_size": 8},
    RunKind.ppo: {
        "episodes": 1200, "batch_size": 48, "minibatch_size": 16, "micro_batch_size": 16,
        "learning_rate": 1e-4, "value_learning_rate": 1e-3, "warmup_iterations": 5, "kl_coefficient": 0.05,
        "ptx_coefficient": 0.1, "ptx_ratio": 1, "ptx_tokens": 128, "ema": 0.9,
        "checkpoint_every": 5, "evaluate_every": 10,
    },
    RunKind.sampling: {},
}  # fmt: skip
_SMALL: dict[RunKind, dict[str, Any]] = {
    RunKind.sft: {"epochs": 3, "learning_rate": 2e-5, "batch_size": 16, "micro_batch_size": 4, "dropout": 0.1},
    RunKind.reward_model: {"learning_rate": 1e-5, "batch_size": 16, "micro_batch_size": 2},
    RunKind.ppo: {
        "episodes": 6400, "batch_size": 64, "minibatch_size": 32, "micro_batch_size": 8, "inner_epochs": 2,
        "learning_rate": 3e-6, "value_learning_rate": 9e-6, "warmup_iterations": 5, "kl_coefficient": 0.05,
        "ptx_coefficient": 1.0, "ptx_ratio": 1, "ptx_tokens": 256, "ema": 0.95,
        "checkpoint_every": 5, "evaluate_every": 10,
    },
    RunKind.sampling: {},
}  # fmt: skip


def defaults_for(kind: RunKind, n_parameters: int) -> RunConfig:
    """The values to start from for a model of this size: the paper's from 1e9 parameters, scaled ones below."""
    if n_parameters >= LARGE:
        return CONFIGS[kind]()
    if n_parameters >= TINY:
        return CONFIGS[kind](**_SMALL_LENGTHS, **_SMALL[kind])
    return CONFIGS[kind](**_TINY_LENGTHS, **_TINY[kind])
