"""The reward model's loss: every untied pair of a ranking, each prompt counting once."""

import torch
import torch.nn.functional as F
from torch import Tensor


def untied_pairs(ranks: list[int]) -> list[tuple[int, int]]:
    """(winner, loser) for every pair of completions with different ranks, rank 1 being best. Ties are dropped."""
    return [(i, j) for i, a in enumerate(ranks) for j, b in enumerate(ranks) if a < b]


def ranking_loss(scores: Tensor, winners: Tensor, losers: Tensor, pair_weights: Tensor) -> Tensor:
    """Sum over pairs of weight * -log sigmoid(r_winner - r_loser) (section 3.5, equation 1).

    scores (N,); winners, losers (P,) index into it; pair_weights (P,) are 1 / (pairs of that prompt), so that each
    prompt counts once whatever its K. The paper's 1 / C(K, 2) does not say whether ties count; here they do not.
    """
    assert winners.shape == losers.shape == pair_weights.shape, "one winner, one loser and one weight a pair"
    margins = scores[winners] - scores[losers]
    return -(pair_weights * F.logsigmoid(margins)).sum()


def pair_weights(prompt_of_pair: Tensor, prompts: int) -> Tensor:
    """1 / (number of pairs of the same prompt) for each pair: prompt_of_pair (P,) -> (P,)."""
    counts = torch.bincount(prompt_of_pair, minlength=prompts)
    return 1.0 / counts[prompt_of_pair].float()
