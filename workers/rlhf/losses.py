"""The reward model's loss: every pair of a ranking that counts, each prompt weighing the same."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

TIE = 0.5  # target of a tied pair: either completion is as likely to be preferred


def untied_pairs(ranks: list[int]) -> list[tuple[int, int]]:
    """(winner, loser) for every pair of completions with different ranks, rank 1 being best."""
    return [(i, j) for i, a in enumerate(ranks) for j, b in enumerate(ranks) if a < b]


def tied_pairs(ranks: list[int]) -> list[tuple[int, int]]:
    """(i, j) with i < j for every pair of completions of the same rank."""
    return [(i, j) for i, j in itertools.combinations(range(len(ranks)), 2) if ranks[i] == ranks[j]]


def ranking_loss(
    scores: Tensor, winners: Tensor, losers: Tensor, pair_weights: Tensor, targets: Tensor | None = None
) -> Tensor:
    """Sum over pairs of weight * -(t log sigmoid(d) + (1 - t) log sigmoid(-d)), d = r_winner - r_loser.

    scores (N,); winners, losers (P,) index into it; pair_weights (P,) are 1 / (pairs of that prompt), so that each
    prompt counts once whatever its K. targets (P,) say how likely the winner is preferred: 1 (none given: all), which
    is section 3.5, equation 1, or 1/2 for a tie. The paper's 1 / C(K, 2) does not say whether ties that are dropped
    count; here they do not.
    """
    assert winners.shape == losers.shape == pair_weights.shape, "one winner, one loser and one weight a pair"
    margins = scores[winners] - scores[losers]
    if targets is None:
        return -(pair_weights * F.logsigmoid(margins)).sum()
    likely = targets * F.logsigmoid(margins) + (1 - targets) * F.logsigmoid(-margins)
    return -(pair_weights * likely).sum()


def pair_weights(prompt_of_pair: Tensor, prompts: int) -> Tensor:
    """1 / (number of pairs of the same prompt) for each pair: prompt_of_pair (P,) -> (P,)."""
    counts = torch.bincount(prompt_of_pair, minlength=prompts)
    return 1.0 / counts[prompt_of_pair].float()
