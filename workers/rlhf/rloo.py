"""RLOO's advantages: a completion's reward against what the others of its prompt got."""

import torch
from torch import Tensor


def sequence_rewards(
    scores: Tensor,
    logprobs: Tensor,
    ref_logprobs: Tensor,
    *,
    kl_coefficient: float,
    missing_eos: Tensor,
    missing_eos_penalty: float,
) -> Tensor:
    """score - beta * (log pi - log pi_ref) of whole completions, less a penalty for not having ended; all are (N,).

    Ahmadian et al. 2024, section 2.1: a completion is one action, so its reward holds its whole KL.
    """
    assert scores.shape == logprobs.shape == ref_logprobs.shape == missing_eos.shape, "all are (N,)"
    return scores - kl_coefficient * (logprobs - ref_logprobs) - missing_eos_penalty * missing_eos.to(scores.dtype)


def leave_one_out(rewards: Tensor) -> Tensor:
    """Rewards (M, k) of k completions of each of M prompts less the mean of the other k - 1 (Kool et al. 2019): (M, k).

    The baseline does not depend on the completion that it is taken off, so the gradient stays unbiased.
    """
    assert rewards.shape[1] > 1, "the others of a prompt are a baseline only if there are some"
    others = (rewards.sum(dim=1, keepdim=True) - rewards) / (rewards.shape[1] - 1)
    return torch.sub(rewards, others)
