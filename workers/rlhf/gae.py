"""Generalised advantage estimation over completions, and the whitening of its advantages."""

import torch
from torch import Tensor


def estimate_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, *, discount: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """Return (advantages, returns), each (B, T), zero where `mask` is.

    `mask` (B, T) marks completion tokens, which start each row without gaps. A completion ends the
    episode, so the value after its last token is 0 (Schulman et al. 2016, eq. 16; gamma = 1 in
    InstructGPT, lambda = 0.95 in Stiennon et al. 2020).
    """
    assert rewards.shape == values.shape == mask.shape, "rewards, values and mask are all (B, T)"
    mask = mask.to(values.dtype)
    values = values * mask
    following_values = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    deltas = (rewards + discount * following_values - values) * mask  # (B, T)
    advantages = torch.zeros_like(deltas)
    running = torch.zeros_like(deltas[:, 0])  # (B,)
    for t in range(deltas.shape[1] - 1, -1, -1):
        running = deltas[:, t] + discount * gae_lambda * running
        advantages[:, t] = running
    return advantages, advantages + values


def whiten(advantages: Tensor, mask: Tensor, *, eps: float = 1e-8) -> Tensor:
    """Mean 0 and variance 1 over all completion tokens of the whole batch (Ziegler et al. 2019)."""
    mask = mask.to(advantages.dtype)
    count = mask.sum().clamp(min=1.0)
    mean = (advantages * mask).sum() / count
    variance = ((advantages - mean) ** 2 * mask).sum() / count
    return (advantages - mean) * torch.rsqrt(variance + eps) * mask
