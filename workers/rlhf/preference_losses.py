"""Losses by which a policy learns from rankings without a reward model: DPO and IPO, each prompt counting once.

Both read log-ratios log(pi / pi_ref) of whole completions, (N,), and pairs as `ranking_loss` has them: winners and
losers (P,) are indices into the completions, pair_weights (P,) are 1 / (pairs of that prompt).
"""

import torch.nn.functional as F
from torch import Tensor


def dpo_loss(
    log_ratios: Tensor, winners: Tensor, losers: Tensor, pair_weights: Tensor, *, beta: float, label_smoothing: float
) -> Tensor:
    """Sum over pairs of weight * -log sigmoid(beta * (ratio_w - ratio_l)) (Rafailov et al. 2023, equation 7).

    The completions' log-ratios are sums over their tokens. `label_smoothing` is the chance that a label is the wrong
    way round: that share of the loss is the pair's turned over (cDPO, Mitchell 2023, equation 3).
    """
    assert winners.shape == losers.shape == pair_weights.shape, "one winner, one loser and one weight a pair"
    margins = beta * (log_ratios[winners] - log_ratios[losers])
    as_labeled, turned_over = F.logsigmoid(margins), F.logsigmoid(-margins)
    return -(pair_weights * ((1 - label_smoothing) * as_labeled + label_smoothing * turned_over)).sum()


def ipo_loss(log_ratios: Tensor, winners: Tensor, losers: Tensor, pair_weights: Tensor, *, beta: float) -> Tensor:
    """Sum over pairs of weight * (ratio_w - ratio_l - 1 / (2 beta))^2 (Azar et al. 2023, equation 17; beta is its tau).

    The equation is written for whole completions, whose log-ratio grows with their length while the target does not.
    Its authors have the log-ratio taken as a mean over the completion's tokens, as TRL does since its PR 1265; so do
    we, and the caller divides.
    """
    assert winners.shape == losers.shape == pair_weights.shape, "one winner, one loser and one weight a pair"
    gaps = log_ratios[winners] - log_ratios[losers]
    return (pair_weights * (gaps - 1 / (2 * beta)) ** 2).sum()
