"""How much memory a run needs at least: its models' weights, and what training keeps beside them. The examples come on
top, so a run that fits by these figures may still be too large; one that does not can't work."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.runs.configs import RunConfig, RunKind, ShardableConfig, TrainingConfig
from app.runs.schemas import ENSEMBLE, SUBJECT

# Bytes a parameter in fp32: a weight is 4; training adds its gradient and Adam's two moments.
FROZEN, TRAINED = 4, 16
JUDGES = (*ENSEMBLE, "watch")  # each is kept beside PPO's own four
# PPO trains policy and value network, keeps reference and reward model, and averages the policy (EMA). With adapters
# policy and reference are one set of weights, value network and reward model at most a second.
_BYTES = {
    RunKind.sampling: FROZEN,
    RunKind.evaluation: FROZEN,
    RunKind.prefix_contest: FROZEN,
    RunKind.reward_evaluation: FROZEN,
    RunKind.sft: TRAINED,
    RunKind.reward_model: TRAINED,
    RunKind.cross_validation: TRAINED,
    RunKind.ppo: 2 * TRAINED + 3 * FROZEN,
    RunKind.rloo: TRAINED + 2 * FROZEN,  # with the reference and the reward model
    RunKind.dpo: TRAINED,  # the reference is a number a completion, taken before the first step
}
_BYTES_LORA = {
    **_BYTES, RunKind.sft: FROZEN, RunKind.reward_model: FROZEN, RunKind.cross_validation: FROZEN,
    RunKind.ppo: 2 * FROZEN, RunKind.dpo: FROZEN, RunKind.rloo: 2 * FROZEN,
}  # fmt: skip
_BESIDE = {
    RunKind.sampling: ("reward_model",),
    RunKind.prefix_contest: ("reward_model",),
    RunKind.evaluation: ("toxicity_classifier", "truth_judge", "info_judge"),
}


@dataclass(frozen=True, slots=True)
class Needs:
    """Bytes. A GPU's memory is a process's own; the machine's is shared by all processes of a run."""

    gpu: int
    cpu: int


def bytes_needed(kind: RunKind, parameters: int, *, lora: bool) -> int:
    """Weights, gradients and optimizer states; what the examples need comes on top."""
    return (_BYTES_LORA if lora else _BYTES)[kind] * parameters


def needs_of(kind: RunKind, config: RunConfig, parameters: Mapping[str, int]) -> Needs:
    """What a run needs at least, by the parameters of its models, by part."""
    own = parameters.get(SUBJECT[kind], 0)
    needed = bytes_needed(kind, own, lora=isinstance(config, TrainingConfig) and config.lora_rank > 0)
    if isinstance(config, ShardableConfig) and config.sharded:
        needed = needed // config.processes + FROZEN * own  # a shard, and the first process's whole twin
    needed += sum(FROZEN * parameters.get(part, 0) for part in _BESIDE.get(kind, JUDGES))
    return Needs(gpu=needed, cpu=needed * (config.processes if isinstance(config, TrainingConfig) else 1))


def advice(config: Mapping[str, object]) -> str:
    """What needs far less, where there is such a thing. Only configs of training have a rank."""
    return " A lora_rank above 0 needs far less." if config.get("lora_rank") == 0 else ""


def gib(number: int) -> str:
    return f"{number / 2**30:.1f} GiB"
