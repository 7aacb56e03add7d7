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


def whiten(numbers: Tensor, mask: Tensor, *, shift_mean: bool = True, eps: float = 1e-8) -> Tensor:
    """Variance 1 over all completion tokens of the whole batch, and mean 0 unless the mean is to stay.

    Ziegler et al. 2019 whiten advantages with, rewards without shifting the mean.
    """
    mask = mask.to(numbers.dtype)
    count = mask.sum().clamp(min=1.0)
    mean = (numbers * mask).sum() / count
    variance = ((numbers - mean) ** 2 * mask).sum() / count
    whitened = (numbers - mean) * torch.rsqrt(variance + eps)
    return (whitened if shift_mean else whitened + mean) * mask
