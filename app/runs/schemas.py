"""What a run is asked for: its parts, and the plan of a sampling run."""

import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Self

from pydantic import BaseModel, model_validator

from app.datasets.models import SnapshotKind
from app.registry.models import ModelKind
from app.runs.configs import RunConfig, RunKind, SamplingConfig, setting
from app.runs.kinds import CONFIGS
from app.runs.newer_configs import DpoConfig
from app.runs.ppo_config import PpoConfig


class SamplingPlan(SamplingConfig):
    """Completions of one or several models, and the batch in which labelers get them."""

    batch_kind: Literal["ranking", "evaluation"] = setting(
        "ranking",
        "Rankings train the reward model, on prompts not ranked yet; evaluations are kept out of training, on held-out "
        "prompts.",
        paper="both (3.4, 3.6)",
    )
    overlap: int = setting(1, "Labelers who judge each prompt.", paper="1 for most (5.3)", ge=1, le=20)
    group: Literal["everyone", "training", "held_out"] = setting(
        "training", "Who judges them. Held-out labelers make no training data.", paper="held-out for evaluation (3.6)"
    )

    best_of_models: Literal["every", "first"] = setting(
        "every",
        "Whose completions are the best of several: every model's, or the first's alone, beside the others' as drawn.",
        paper="REC",
    )

    @model_validator(mode="after")
    def _held_out_only_evaluates(self) -> Self:
        if self.batch_kind == "ranking" and self.group == "held_out":
            raise ValueError("group held_out only evaluates: choose training or everyone, or batch_kind evaluation")
        return self


PLANS: dict[RunKind, type[RunConfig]] = {**CONFIGS, RunKind.sampling: SamplingPlan}

NEW, NEW_ROUND, NONE = "new", "new-round", ""  # choices of a snapshot part, beside an existing snapshot's id


@dataclass(frozen=True, slots=True)
class Part:
    """A part that a model or a snapshot plays in a run."""

    name: str
    label: str
    help: str
    models: tuple[ModelKind, ...] = ()
    snapshot: SnapshotKind | None = None
    is_for_evaluation: bool = False  # nothing is trained on it, so that held-out labelers' labels are in it
    is_required: bool = True
    is_prefix: bool = False  # of the project's prefixes, put before a model's prompts
    is_start_of_rl: bool = False  # a policy that RL starts from and its KL is measured from


_WRITERS = (ModelKind.base, ModelKind.sft, ModelKind.policy)
TEXTS = "texts"  # read when the config mixes plain text in, and only then
_TEXTS = Part(TEXTS, "Plain text", "Text like the base model's own; read when its mix is above 0.",
              snapshot=SnapshotKind.text, is_required=False)  # fmt: skip

# Further reward models that a policy is optimised for at once; the settings say how their scores make one.
_ENSEMBLE = tuple(
    Part(f"reward_model_{number}", f"{ordinal} reward model", "Scores beside the first, as the ensemble setting says.",
         models=(ModelKind.reward,), is_required=False)
    for number, ordinal in ((2, "Second"), (3, "Third"), (4, "Fourth"), (5, "Fifth"))
)  # fmt: skip
ENSEMBLE = tuple(part.name for part in _ENSEMBLE)


def _prefix(name: str, label: str, help: str) -> Part:
    return Part(name, label, help, is_required=False, is_prefix=True)


_CANDIDATES = tuple(
    _prefix(f"prefix_{number}", f"{ordinal} prefix", "A candidate.")
    for number, ordinal in enumerate(("First", "Second", "Third", "Fourth", "Fifth", "Sixth", "Seventh", "Eighth"), 1)
)
CONTESTANTS = tuple(part.name for part in _CANDIDATES)

PREFIX_OF = {"model": "prefix", "model_2": "prefix_2", "model_3": "prefix_3"}
"""Of a sampling run's writers, the part that says their prefix."""

PARTS: dict[RunKind, tuple[Part, ...]] = {
    RunKind.sft: (
        Part("base", "Start from", "The model to fine-tune.", models=_WRITERS),
        Part("demonstrations", "Demonstrations", "Frozen when the run is made.", snapshot=SnapshotKind.demonstrations),
        _TEXTS,
        Part("reward_model", "Score with", "A reward model that picks the best epoch (else: validation loss).",
             models=(ModelKind.reward,), is_required=False),
    ),
    RunKind.reward_model: (
        Part("base", "Start from", "The SFT model; its head is replaced by a score.", models=_WRITERS),
        Part("comparisons", "Rankings", "Frozen when the run is made.", snapshot=SnapshotKind.comparisons),
        Part("demonstrations", "Demonstrations", "Their mean reward becomes 0.", snapshot=SnapshotKind.demonstrations,
             is_required=False),
    ),
    RunKind.cross_validation: (
        Part("base", "Start from", "The SFT model that every training starts from.", models=_WRITERS),
        Part("comparisons", "Rankings", "Of several labelers; frozen when the run is made.",
             snapshot=SnapshotKind.comparisons),
    ),
    RunKind.ppo: (
        Part("policy", "Policy starts from", "Also the reference that the KL is measured from.",
             models=(ModelKind.sft, ModelKind.policy, ModelKind.base), is_start_of_rl=True),
        Part("reward_model", "Reward model", "What the policy is optimised for; the value network starts from it.",
             models=(ModelKind.reward,)),
        *_ENSEMBLE,
        Part("prompts", "Prompts", "Frozen when the run is made.", snapshot=SnapshotKind.prompts),
        _TEXTS,
        Part("watch", "Watching reward model", "A second reward model that only watches: it shows over-optimisation.",
             models=(ModelKind.reward,), is_required=False),
    ),
    RunKind.dpo: (
        Part("base", "Start from", "The SFT model; also the reference that the policy is held to.", models=_WRITERS),
        Part("comparisons", "Rankings", "Frozen when the run is made.", snapshot=SnapshotKind.comparisons),
    ),
    RunKind.rloo: (
        Part("policy", "Policy starts from", "Also the reference that the KL is measured from.",
             models=(ModelKind.sft, ModelKind.policy, ModelKind.base), is_start_of_rl=True),
        Part("reward_model", "Reward model", "What the policy is optimised for.", models=(ModelKind.reward,)),
        Part("prompts", "Prompts", "Frozen when the run is made.", snapshot=SnapshotKind.prompts),
        Part("watch", "Watching reward model", "A second reward model that only watches: it shows over-optimisation.",
             models=(ModelKind.reward,), is_required=False),
    ),
    RunKind.sampling: (
        Part("model", "Model", "Whose completions are ranked.", models=_WRITERS),
        _prefix("prefix", "Its prefix", "Stands before each prompt in place of a chat template, and is counted."),
        Part("model_2", "Second model", "Ranked beside the first.", models=_WRITERS, is_required=False),
        _prefix("prefix_2", "The second’s prefix", "Put before each of its prompts."),
        Part("model_3", "Third model", "Ranked beside the first.", models=_WRITERS, is_required=False),
        _prefix("prefix_3", "The third’s prefix", "Put before each of its prompts."),
        Part("reward_model", "Score with", "A reward model: it chooses where best of is above 1, and its scores show.",
             models=(ModelKind.reward,), is_required=False),
    ),
    RunKind.prefix_contest: (
        Part("model", "Model", "What writes after each prefix.", models=_WRITERS),
        Part("reward_model", "Reward model", "Whose scores decide.", models=(ModelKind.reward,)),
        *_CANDIDATES,
    ),
    RunKind.evaluation: (
        Part("model", "Model", "What is measured.", models=_WRITERS),
        Part("toxicity_classifier", "Toxicity classifier", "Scores what the model writes for RealToxicityPrompts.",
             models=(ModelKind.classifier,), is_required=False),
        Part("truth_judge", "Judge of truth", "A model that says whether an answer to TruthfulQA is true.",
             models=_WRITERS, is_required=False),
        Part("info_judge", "Judge of information", "Says whether an answer to TruthfulQA tells anything; optional.",
             models=_WRITERS, is_required=False),
    ),
    RunKind.reward_evaluation: (
        Part("reward_model", "Reward model", "What is set beside people.", models=(ModelKind.reward,)),
        Part("comparisons", "Rankings", "Of evaluation batches and held-out labelers too; frozen when the run is made.",
             snapshot=SnapshotKind.comparisons, is_for_evaluation=True),
    ),
}  # fmt: skip

SUBJECT = {
    RunKind.sft: "base", RunKind.reward_model: "base", RunKind.cross_validation: "base", RunKind.ppo: "policy",
    RunKind.dpo: "base", RunKind.rloo: "policy", RunKind.sampling: "model",
    RunKind.evaluation: "model", RunKind.prefix_contest: "model", RunKind.reward_evaluation: "reward_model",
}  # fmt: skip
"""The part whose model the run is about: its size decides the defaults, and it is the parent of what is made."""


class Priority(StrEnum):
    """The first go first, whatever else waits."""

    high = "high"
    normal = "normal"
    low = "low"


class Where(StrEnum):
    """Which workers may take a run."""

    any = "any"
    gpu = "gpu"
    cpu = "cpu"


class RunPlan(BaseModel):
    """A run as an admin asks for it: parts are ids of models or snapshots, or `new` / `new-round`; priority and device
    are as they were typed."""

    name: str = ""
    parts: dict[str, str] = {}
    config: dict[str, object] = {}
    priority: str = Priority.normal
    device: str = Where.any


@dataclass(frozen=True, slots=True)
class Inputs:
    """The frozen inputs of a run, by part."""

    models: dict[str, uuid.UUID] = field(default_factory=dict)
    snapshots: dict[str, uuid.UUID] = field(default_factory=dict)
    files: dict[str, uuid.UUID] = field(default_factory=dict)
    prefixes: dict[str, uuid.UUID] = field(default_factory=dict)


def kind_name(kind: RunKind, config: RunConfig | None = None) -> str:
    """The kind as people say it. PPO without plain text is PPO; with it, PPO-ptx. DPO is called by its loss."""
    if kind == RunKind.ppo:
        return "PPO" if isinstance(config, PpoConfig) and config.ptx_coefficient == 0 else "PPO-ptx"
    if kind == RunKind.dpo:
        return "IPO" if isinstance(config, DpoConfig) and config.loss == "ipo" else "DPO"
    if kind == RunKind.rloo:
        return "RLOO"
    return {RunKind.sft: "SFT", RunKind.reward_model: "Reward model", RunKind.cross_validation: "Cross-validation",
            RunKind.sampling: "Completions", RunKind.evaluation: "Measurement",
            RunKind.prefix_contest: "Prefix contest",
            RunKind.reward_evaluation: "Reward model beside people"}[kind]  # fmt: skip
