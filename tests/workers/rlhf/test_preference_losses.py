"""DPO's and IPO's losses against slow loops over pairs of single numbers."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from workers.rlhf.losses import pair_weights, untied_pairs
from workers.rlhf.preference_losses import dpo_loss, ipo_loss

pytestmark = pytest.mark.train

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

# Log-ratios of two prompts' completions and their ranks: one of 9 completions with ties, one of 4.
RATIOS = [[0.3, -1.2, 2.0, 0.7, 0.0, -0.4, 1.1, -2.5, 0.9], [-0.8, 0.6, 1.4, 0.2]]
RANKS = [[1, 2, 2, 3, 4, 5, 5, 5, 6], [4, 1, 2, 2]]


def slow(of_pair: Callable[[float, float], float]) -> float:
    """Mean over prompts of the mean over their untied pairs."""
    per_prompt = []
    for own, order in zip(RATIOS, RANKS, strict=True):
        pairs = [(own[i], own[j]) for i in range(len(own)) for j in range(len(own)) if order[i] < order[j]]
        per_prompt.append(sum(of_pair(*pair) for pair in pairs) / len(pairs))
    return sum(per_prompt) / len(per_prompt)


def fast(loss: Loss) -> float:
    winners, losers, prompts, first = [], [], [], 0
    for number, order in enumerate(RANKS):
        for winner, loser in untied_pairs(order):
            winners.append(first + winner)
            losers.append(first + loser)
            prompts.append(number)
        first += len(order)
    flat = torch.tensor([ratio for own in RATIOS for ratio in own], dtype=torch.float64)
    weights = pair_weights(torch.tensor(prompts), len(RANKS)).double()
    return float(loss(flat, torch.tensor(winners), torch.tensor(losers), weights)) / len(RANKS)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("beta", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.4])
def test_dpo_is_its_equation(beta: float, label_smoothing: float) -> None:
    def of_pair(winner: float, loser: float) -> float:
        margin = beta * winner - beta * loser
        return -(1 - label_smoothing) * math.log(sigmoid(margin)) - label_smoothing * math.log(sigmoid(-margin))

    ours = fast(lambda *pairs: dpo_loss(*pairs, beta=beta, label_smoothing=label_smoothing))
    assert ours == pytest.approx(slow(of_pair), abs=1e-7)


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_ipo_is_its_equation(beta: float) -> None:
    def of_pair(winner: float, loser: float) -> float:
        return (winner - loser - 1 / (2 * beta)) ** 2

    assert fast(lambda *pairs: ipo_loss(*pairs, beta=beta)) == pytest.approx(slow(of_pair), rel=1e-6)


def test_label_smoothing_makes_a_finite_margin_the_best_one() -> None:
    """At 1 - e wrong labels the loss is least where sigmoid(margin) = 1 - e, and no longer at infinity."""
    pair = (torch.tensor([0]), torch.tensor([1]), torch.tensor([1.0]))
    for label_smoothing in (0.1, 0.25):
        best = math.log((1 - label_smoothing) / label_smoothing)
        ratios = torch.tensor([best, 0.0], requires_grad=True)
        dpo_loss(ratios, *pair, beta=1.0, label_smoothing=label_smoothing).backward()
        torch.testing.assert_close(ratios.grad, torch.zeros(2), rtol=0, atol=1e-6)


def test_ipo_wants_no_more_than_its_margin() -> None:
    ratios = torch.tensor([7.0, 2.0], requires_grad=True)
    ipo_loss(ratios, torch.tensor([0]), torch.tensor([1]), torch.tensor([1.0]), beta=0.1).backward()
    torch.testing.assert_close(ratios.grad, torch.zeros(2))
