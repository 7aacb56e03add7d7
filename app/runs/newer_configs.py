"""What an admin may set for the methods that came after the paper: the same kind of models, with the same bounds."""

from typing import Literal, Self

from pydantic import model_validator

from app.runs.configs import TrainingConfig, refuse_uneven, setting


class DpoConfig(TrainingConfig):
    """A policy from rankings alone, without a reward model (Rafailov et al. 2023). Not in the paper."""

    learning_rate: float = setting(
        1e-6, "Peak learning rate; it falls along a cosine.", paper="not in it; 1e-6 in Rafailov", gt=0, le=1
    )
    final_learning_rate: float = setting(
        0.1, "Share of the peak at which the learning rate ends.", paper="REC", ge=0, le=1
    )
    batch_size: int = setting(
        64, "Prompts in one step, each with all its pairs.", paper="not in it; 64 pairs in Rafailov", ge=1, le=65_536
    )
    epochs: int = setting(1, "Times through the rankings; more overfits fast.", paper="REC", ge=1, le=100)
    loss: Literal["dpo", "ipo"] = setting(
        "dpo",
        "dpo pushes a pair apart without end; ipo up to a margin of 1 / (2 beta) nats a token.",
        paper="not in it; Rafailov, Azar",
    )
    beta: float = setting(
        0.1,
        "How strongly the policy is held to where it starts; larger moves it less.",
        paper="not in it; 0.1, for summaries 0.5 in Rafailov",
        gt=0,
        le=100,
    )
    label_smoothing: float = setting(
        0.0,
        "Chance that a label is the wrong way round (cDPO); ipo knows none.",
        paper="not in it; Mitchell 2023",
        ge=0,
        lt=0.5,
    )
    evaluate_every: int = setting(
        50, "Steps between looks at the validation rankings.", paper="REC", ge=1, le=1_000_000
    )

    @model_validator(mode="after")
    def _ipo_has_no_label_smoothing(self) -> Self:
        if self.loss == "ipo" and self.label_smoothing:
            raise ValueError(f"loss ipo knows no label_smoothing, but it is {self.label_smoothing:g}: set it to 0")
        return self


class RlooConfig(TrainingConfig):
    """RLOO against the reward model, without a value network: a prompt's other completions are the baseline."""

    learning_rate: float = setting(
        1e-6, "Learning rate, constant after warmup.", paper="not in it; 1e-6 in Ahmadian", gt=0, le=1
    )
    batch_size: int = setting(512, "Episodes sampled in one iteration.", paper="512 for PPO", ge=2, le=65_536)
    completions_per_prompt: int = setting(
        4, "k: episodes of each prompt in an iteration.", paper="not in it; 2 and 4 in Ahmadian", ge=2, le=64
    )
    minibatch_size: int = setting(
        64, "Episodes in one optimizer step, all of a prompt together.", paper="64 for PPO", ge=2, le=65_536
    )
    episodes: int = setting(256_000, "Episodes in all.", paper="256,000 for PPO", ge=2, le=100_000_000)
    inner_epochs: int = setting(1, "Times through each iteration's episodes.", paper="1 for PPO", ge=1, le=100)
    warmup_iterations: int = setting(
        10, "Iterations in which the learning rate rises to its peak.", paper="10 for PPO", ge=0, le=100_000
    )
    warmup_start: float = setting(
        0.1, "Share of the peak at which the learning rate starts to rise.", paper="0.1 for PPO", ge=0, le=1
    )
    kl_coefficient: float = setting(
        0.05,
        "Penalty for moving away from the initial policy.",
        paper="not in it; 0.03 to 0.1 in Ahmadian",
        ge=0,
        le=100,
    )
    kl_stop: float = setting(
        0.0, "Stops the run when the KL in nats an episode passes this; 0 never.", paper="REC", ge=0, le=10_000
    )
    clip_range: float = setting(
        0.2, "Clip of a whole completion's probability ratio.", paper="0.2 a token for PPO", gt=0, le=10
    )
    temperature: float = setting(1.0, "Sampling temperature of the episodes.", paper="1 for PPO", gt=0, le=10)
    missing_eos_penalty: float = setting(
        1.0, "Taken off the reward of an episode that does not end by itself.", paper="REC", ge=0, le=1000
    )
    evaluate_every: int = setting(
        10, "Iterations between looks at the validation prompts.", paper="REC", ge=1, le=1_000_000
    )
    evaluation_prompts: int = setting(32, "Validation prompts in each look.", paper="REC", ge=1, le=10_000)

    @model_validator(mode="after")
    def _groups_divide(self) -> Self:
        refuse_uneven(self.episodes, self.batch_size, self.minibatch_size, self.micro_batch_size)
        if self.minibatch_size % self.completions_per_prompt:
            raise ValueError(
                f"minibatch_size {self.minibatch_size} is not a multiple of completions_per_prompt "
                f"{self.completions_per_prompt}"
            )
        return self
