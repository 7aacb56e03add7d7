"""What an admin may set for PPO: the paper's own method, with the most settings of all."""

from typing import Literal, Self

from pydantic import model_validator

from app.runs.configs import TrainingConfig, refuse_uneven, setting


class PpoConfig(TrainingConfig):
    """PPO against the reward model, with plain text in the same gradient when ptx_coefficient is above 0."""

    learning_rate: float = setting(
        5e-6,
        "Policy's learning rate, constant after warmup.",
        paper="2.55e-6 to 2.55e-5 tried, at 175B 2.55e-6 and 3.74e-6; the choice is not given (E.9)",
        rec=True,
        gt=0,
        le=1,
    )
    adam_eps: float = setting(1e-5, "AdamW's epsilon.", paper="not given; 1e-5 in Ziegler's code", gt=0, le=1e-2)
    batch_size: int = setting(512, "Episodes sampled in one iteration.", paper="512 (C.4)", ge=1, le=65_536)
    minibatch_size: int = setting(64, "Episodes in one optimizer step.", paper="64 (C.4)", ge=1, le=65_536)
    episodes: int = setting(256_000, "Episodes in all.", paper="256,000 (C.4)", ge=1, le=100_000_000)
    inner_epochs: int = setting(1, "Times through each iteration's episodes.", paper="1 (C.4)", ge=1, le=100)
    value_learning_rate: float = setting(
        9e-6, "Value network's learning rate.", paper="9e-6, at 175B 5e-6 (C.4)", gt=0, le=1
    )
    warmup_iterations: int = setting(
        10, "Iterations in which learning rates rise to their peak.", paper="10 (C.4)", ge=0, le=100_000
    )
    warmup_start: float = setting(
        0.1, "Share of the peak at which learning rates start to rise.", paper="0.1 (C.4)", ge=0, le=1
    )
    ensemble: Literal["mean", "min", "mean_minus_variance"] = setting(
        "mean", "How several reward models make one reward.", paper="one reward model; Coste et al. 2023"
    )
    ensemble_penalty: float = setting(
        0.5, "What mean-minus-variance takes off for each unit of variance.", paper="one reward model", ge=0, le=100
    )
    kl_coefficient: float = setting(
        0.02, "Penalty for moving away from the initial policy.", paper="0.02 (C.4)", ge=0, le=100
    )
    kl_controller: Literal["fixed", "adaptive"] = setting(
        "fixed", "Whether the penalty stays or follows kl_target.", paper="fixed (C.4)"
    )
    kl_target: float = setting(
        6.0, "KL in nats an episode that the adaptive penalty steers to.", paper="6 in Ziegler", gt=0, le=1000
    )
    kl_horizon: int = setting(
        10_000, "Episodes over which the adaptive penalty reacts.", paper="10,000 in Ziegler", ge=1, le=100_000_000
    )
    kl_estimator: Literal["k1", "k2", "k3"] = setting(
        "k1", "Estimate of the KL that is penalised at each token.", paper="k1 (3.5)"
    )
    kl_stop: float = setting(
        0.0, "Stops the run when the KL in nats an episode passes this; 0 never.", paper="REC", ge=0, le=10_000
    )
    ptx_coefficient: float = setting(
        27.8, "Weight of the plain-text gradient; 0 is plain PPO.", paper="27.8 (C.4)", ge=0, le=10_000
    )
    ptx_ratio: float = setting(8, "Plain-text examples for each episode.", paper="8 (C.4)", gt=0, le=1000)
    ptx_tokens: int = setting(256, "Longest plain-text example.", paper="not given", ge=8, le=131_072)
    clip_range: float = setting(0.2, "Clip of the policy's probability ratio.", paper="0.2 (C.4)", gt=0, le=10)
    value_clip: float = setting(0.2, "Clip of the value's change.", paper="not given; 0.2 in Ziegler", gt=0, le=1000)
    value_coefficient: float = setting(
        0.1, "Weight of the value loss.", paper="not given; 0.1 in Ziegler", ge=0, le=100
    )
    gamma: float = setting(1.0, "Discount.", paper="1 (C.4)", gt=0, le=1)
    gae_lambda: float = setting(0.95, "Lambda of the advantage estimate.", paper="0.95 in Stiennon", ge=0, le=1)
    whiten_advantages: bool = setting(
        True, "Advantages to mean 0 and variance 1 over the batch.", paper="not given; on in Ziegler"
    )
    whiten_rewards: bool = setting(
        False, "Rewards to variance 1 over the batch, their mean kept.", paper="not given; on in Ziegler"
    )
    ema: float = setting(
        0.992,
        "Decay, an optimizer step, of the average of the policy's weights that is saved; 0 saves the weights.",
        paper="0.992 (C.4), of what is not stated",
        ge=0,
        lt=1,
    )
    temperature: float = setting(1.0, "Sampling temperature of the episodes.", paper="1 (C.4)", gt=0, le=10)
    missing_eos_penalty: float = setting(
        1.0,
        "Taken off the reward of an episode that does not end by itself.",
        paper="not given; Ziegler sets -1",
        ge=0,
        le=1000,
    )
    evaluate_every: int = setting(
        10, "Iterations between looks at the validation prompts.", paper="REC", ge=1, le=1_000_000
    )
    evaluation_prompts: int = setting(32, "Validation prompts in each look.", paper="REC", ge=1, le=10_000)
    keep: Literal["last", "best"] = setting(
        "last",
        "Which policy is saved: the last, or the best look's, by the watching reward model if any.",
        paper="not given",
    )
    sampling_workers: int = setting(
        0,
        "Workers of the queue “sampling” among which each iteration's episodes are shared out; 0: the trainer draws.",
        paper="REC",
        ge=0,
        le=1024,
    )
    max_staleness: int = setting(
        0,
        "Iterations by which the policy that draws may be older, so that sampling workers draw while the trainer "
        "learns; 0: never older.",
        paper="REC",
        ge=0,
        le=100,
    )

    @model_validator(mode="after")
    def _batch_divides(self) -> Self:
        refuse_uneven(self.episodes, self.batch_size, self.minibatch_size, self.micro_batch_size)
        return self

    @model_validator(mode="after")
    def _workers_have_shares(self) -> Self:
        if self.sampling_workers > self.batch_size:
            raise ValueError(
                f"sampling_workers {self.sampling_workers} are more than batch_size {self.batch_size} has episodes for"
            )
        if self.max_staleness and not self.sampling_workers:
            raise ValueError("max_staleness is for sampling_workers: set 1 or more of these, or max_staleness to 0")
        return self
