"""The ranking loss against a slow loop over pairs."""

import math

import pytest
import torch

from workers.rlhf.losses import TIE, pair_weights, ranking_loss, tied_pairs, untied_pairs

pytestmark = pytest.mark.train


def slow_loss(scores: list[list[float]], ranks: list[list[int]]) -> float:
    """Mean over prompts of the mean over untied pairs of -log sigmoid(winner - loser)."""
    per_prompt = []
    for own, order in zip(scores, ranks, strict=True):
        losses = [
            math.log1p(math.exp(-(own[i] - own[j])))
            for i in range(len(own))
            for j in range(len(own))
            if order[i] < order[j]
        ]
        per_prompt.append(sum(losses) / len(losses))
    return sum(per_prompt) / len(per_prompt)


def fast_loss(scores: list[list[float]], ranks: list[list[int]]) -> torch.Tensor:
    winners, losers, prompts, first = [], [], [], 0
    for number, order in enumerate(ranks):
        for i, j in untied_pairs(order):
            winners.append(first + i)
            losers.append(first + j)
            prompts.append(number)
        first += len(order)
    flat = torch.tensor([score for own in scores for score in own], dtype=torch.float64)
    weights = pair_weights(torch.tensor(prompts), len(ranks))
    return ranking_loss(flat, torch.tensor(winners), torch.tensor(losers), weights) / len(ranks)


def test_04_each_prompt_weighs_the_same_for_4_and_9_completions() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = [torch.randn(k, generator=generator).tolist() for k in (4, 9)]
    ranks = [[1, 2, 3, 4], [9, 8, 7, 6, 5, 4, 3, 2, 1]]
    assert float(fast_loss(scores, ranks)) == pytest.approx(slow_loss(scores, ranks), abs=1e-6)
    alone = [float(fast_loss([own], [order])) for own, order in zip(scores, ranks, strict=True)]
    assert float(fast_loss(scores, ranks)) == pytest.approx(sum(alone) / 2, abs=1e-6)


def test_05_ties_make_no_preference_pair() -> None:
    assert untied_pairs([1, 1, 2]) == [(0, 2), (1, 2)]
    assert untied_pairs([3, 3, 3]) == []
    scores, ranks = [[0.3, -1.0, 2.0]], [[1, 1, 2]]
    assert float(fast_loss(scores, ranks)) == pytest.approx(slow_loss(scores, ranks), abs=1e-6)


def test_rank_1_is_best() -> None:
    good, bad = fast_loss([[5.0, -5.0]], [[1, 2]]), fast_loss([[5.0, -5.0]], [[2, 1]])
    assert float(good) < 0.01
    assert float(bad) > 9


def test_a_huge_margin_is_no_infinity() -> None:
    assert float(fast_loss([[-1e4, 1e4]], [[1, 2]])) == pytest.approx(2e4)


def test_05_a_soft_tie_counts_as_half_a_win_for_either_side() -> None:
    """Against the sum by hand, in value and gradient; both are smallest where the two scores are equal."""
    assert tied_pairs([2, 1, 2, 2]) == [(0, 2), (0, 3), (2, 3)]
    scores = torch.tensor([0.3, -1.2, 0.9], dtype=torch.float64, requires_grad=True)
    one, other = torch.tensor([0, 0]), torch.tensor([1, 2])  # 0 beats 1, 0 ties with 2
    loss = ranking_loss(scores, one, other, torch.tensor([0.5, 0.5]), torch.tensor([1.0, TIE]))
    beats, ties = 0.3 + 1.2, 0.3 - 0.9
    by_hand = 0.5 * math.log1p(math.exp(-beats))
    by_hand += 0.5 * (0.5 * math.log1p(math.exp(-ties)) + 0.5 * math.log1p(math.exp(ties)))
    assert loss.item() == pytest.approx(by_hand, abs=1e-12)
    loss.backward()
    pull = 0.5 * (0.5 - 1 / (1 + math.exp(-ties)))  # minus the gradient on the tied pair's margin
    assert float(scores.grad[2]) == pytest.approx(pull, abs=1e-7)
    far = torch.tensor([1e4, -1e4], requires_grad=True)
    tied = ranking_loss(far, torch.tensor([0]), torch.tensor([1]), torch.ones(1), torch.tensor([TIE]))
    tied.backward()
    assert bool(torch.isfinite(tied))
    assert far.grad.tolist() == [0.5, -0.5]
