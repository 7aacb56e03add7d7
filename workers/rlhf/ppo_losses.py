"""PPO's rewards and clipped losses, as sums over tokens divided by a count that the caller gives.

A minibatch may be worked off in pieces: each piece divides by the minibatch's token count, so the
pieces' losses and gradients add up to the minibatch's own.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class PolicyLoss:
    loss: Tensor  # ()
    clip_fraction: Tensor  # (), share of tokens where the clipped ratio decided
    approx_kl: Tensor  # (), mean of 0.5 * (log ratio)^2 between this policy and the one that sampled


def per_token_rewards(
    scores: Tensor, kl: Tensor, mask: Tensor, *, kl_coefficient: float, missing_eos: Tensor, missing_eos_penalty: float
) -> Tensor:
    """-beta * KL at each token, and the reward model's score once, at the last one (Ouyang et al. 2022, 3.5).

    scores (B,), kl (B, T), mask (B, T), missing_eos (B,) bool -> (B, T). A completion cut off before it
    ended loses `missing_eos_penalty` at its last token (Ziegler et al. 2019; not stated by the paper).
    """
    assert kl.shape == mask.shape, "kl and mask are both (B, T)"
    assert scores.shape == missing_eos.shape == mask.shape[:1], "scores and missing_eos are (B,)"
    lengths = mask.sum(dim=1).long()
    assert bool((lengths > 0).all()), "every completion has at least one token"
    rewards = -kl_coefficient * kl * mask
    final = scores - missing_eos_penalty * missing_eos.to(scores.dtype)
    rewards[torch.arange(len(scores), device=scores.device), lengths - 1] += final
    return rewards


def clipped_policy_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor, *, clip_range: float, count: Tensor
) -> PolicyLoss:
    """Schulman et al. 2017, eq. 7, as a loss. All tensors have one shape; `count` is the tokens to divide by."""
    assert logprobs.shape == old_logprobs.shape == advantages.shape == mask.shape, "one shape for all four"
    mask = mask.to(logprobs.dtype)
    log_ratio = (logprobs - old_logprobs) * mask
    ratio = log_ratio.exp()
    unclipped = -advantages * ratio
    clipped = -advantages * ratio.clamp(1.0 - clip_range, 1.0 + clip_range)
    loss = (torch.maximum(unclipped, clipped) * mask).sum() / count
    with torch.no_grad():
        clip_fraction = ((clipped > unclipped) * mask).sum() / count
        approx_kl = 0.5 * (log_ratio**2).sum() / count
    return PolicyLoss(loss, clip_fraction, approx_kl)


def clipped_value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, *, clip_range: float, count: Tensor
) -> Tensor:
    """Half the squared error, the worse of the new value and the new value held within the clip range."""
    assert values.shape == old_values.shape == returns.shape == mask.shape, "one shape for all four"
    held = torch.minimum(torch.maximum(values, old_values - clip_range), old_values + clip_range)
    errors = torch.maximum((values - returns) ** 2, (held - returns) ** 2)
    return 0.5 * (errors * mask.to(values.dtype)).sum() / count


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """1 - Var(returns - values) / Var(returns) over completion tokens; 0 where returns do not vary."""
    kept = mask.bool()
    spread = returns[kept].var(unbiased=False)
    if spread <= 0:
        return 0.0
    return float(1.0 - (returns - values)[kept].var(unbiased=False) / spread)
