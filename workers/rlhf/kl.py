"""KL between the policy and its reference: per-token estimators, and how its coefficient moves."""

from dataclasses import dataclass

import torch
from torch import Tensor


def kl_k1(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """log(pi / pi_ref) per sampled token, in nats: unbiased, may be negative. The one the reward uses."""
    return logprobs - ref_logprobs


def kl_k2(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """Half the squared log-ratio: biased, low variance (Schulman 2020)."""
    return 0.5 * (logprobs - ref_logprobs) ** 2


def kl_k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """(r - 1) - log r with r = pi_ref / pi: unbiased and never negative (Schulman 2020)."""
    log_ratio = ref_logprobs - logprobs
    return torch.expm1(log_ratio) - log_ratio


KL_ESTIMATORS = {"k1": kl_k1, "k2": kl_k2, "k3": kl_k3}


@dataclass(slots=True)
class KlController:
    """The KL coefficient beta: fixed without a target, else Ziegler et al. 2019, section 2.2."""

    coefficient: float
    target: float | None = None  # nats an episode
    horizon: int = 10_000  # episodes

    def update(self, kl: float, *, episodes: int) -> None:
        """beta *= 1 + clip(KL / target - 1, -0.2, 0.2) * episodes / horizon."""
        if self.target is None:
            return
        error = min(max(kl / self.target - 1.0, -0.2), 0.2)
        self.coefficient *= 1.0 + error * episodes / self.horizon
