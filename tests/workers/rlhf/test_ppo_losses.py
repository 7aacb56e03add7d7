"""Rewards and clipped losses against scalar references."""

import math

import pytest
import torch

from workers.rlhf.ppo_losses import clipped_policy_loss, clipped_value_loss, explained_variance, per_token_rewards


def ragged_mask(lengths: list[int], width: int) -> torch.Tensor:
    return torch.arange(width) < torch.tensor(lengths)[:, None]


def test_19_score_is_added_exactly_once_at_the_last_token() -> None:
    mask = ragged_mask([1, 3, 5], 5)  # length one, ragged, full length
    scores = torch.tensor([2.0, -1.0, 0.5])
    rewards = per_token_rewards(
        scores,
        torch.zeros(3, 5),
        mask,
        kl_coefficient=0.1,
        missing_eos=torch.zeros(3, dtype=torch.bool),
        missing_eos_penalty=1.0,
    )
    expected = torch.zeros(3, 5)
    expected[0, 0], expected[1, 2], expected[2, 4] = 2.0, -1.0, 0.5
    assert torch.equal(rewards, expected)


def test_18_rewards_hold_the_score_less_beta_times_the_kl_that_is_logged() -> None:
    torch.manual_seed(0)
    mask, kl = ragged_mask([2, 4], 4), torch.randn(2, 4)
    scores = torch.tensor([1.0, 2.0])
    rewards = per_token_rewards(
        scores, kl, mask, kl_coefficient=0.3, missing_eos=torch.tensor([False, False]), missing_eos_penalty=1.0
    )
    logged = (kl * mask).sum(dim=1)
    assert torch.allclose(rewards.sum(dim=1), scores - 0.3 * logged)


def test_20_a_completion_cut_off_loses_the_penalty_once() -> None:
    rewards = per_token_rewards(
        torch.tensor([1.0, 1.0]),
        torch.zeros(2, 3),
        ragged_mask([3, 2], 3),
        kl_coefficient=0.0,
        missing_eos=torch.tensor([True, False]),
        missing_eos_penalty=1.5,
    )
    assert torch.equal(rewards, torch.tensor([[0.0, 0.0, -0.5], [0.0, 1.0, 0.0]]))


def scalar_policy_loss(new: float, old: float, advantage: float, clip: float) -> float:
    ratio = math.exp(new - old)
    held = min(max(ratio, 1 - clip), 1 + clip)
    return -min(ratio * advantage, held * advantage)


def test_24_clipped_policy_loss_equals_scalar_reference() -> None:
    torch.manual_seed(0)
    mask = ragged_mask([4, 2, 6], 6)
    new, old, advantages = (torch.randn(3, 6, dtype=torch.float64) * 0.5 for _ in range(3))
    result = clipped_policy_loss(new, old, advantages, mask, clip_range=0.2, count=mask.sum())
    tokens = [(float(n), float(o), float(a)) for n, o, a in zip(new[mask], old[mask], advantages[mask], strict=True)]
    expected = sum(scalar_policy_loss(n, o, a, 0.2) for n, o, a in tokens) / len(tokens)
    assert float(result.loss) == pytest.approx(expected, abs=1e-12)
    decided = [scalar_policy_loss(n, o, a, 0.2) > -math.exp(n - o) * a + 1e-15 for n, o, a in tokens]
    assert float(result.clip_fraction) == pytest.approx(sum(decided) / len(tokens))
    assert float(result.approx_kl) == pytest.approx(sum(0.5 * (n - o) ** 2 for n, o, _ in tokens) / len(tokens))


def test_24_clipped_value_loss_equals_scalar_reference() -> None:
    torch.manual_seed(0)
    mask = ragged_mask([4, 2, 6], 6)
    values, old, returns = (torch.randn(3, 6, dtype=torch.float64) for _ in range(3))
    loss = clipped_value_loss(values, old, returns, mask, clip_range=0.2, count=mask.sum())
    expected = 0.0
    for v, o, r in zip(values[mask].tolist(), old[mask].tolist(), returns[mask].tolist(), strict=True):
        held = min(max(v, o - 0.2), o + 0.2)
        expected += 0.5 * max((v - r) ** 2, (held - r) ** 2) / int(mask.sum())
    assert float(loss) == pytest.approx(expected, abs=1e-12)


def test_23_pieces_of_a_minibatch_add_up_to_its_loss() -> None:
    torch.manual_seed(0)
    mask = ragged_mask([4, 2, 6, 1], 6)
    new, old, advantages = (torch.randn(4, 6, dtype=torch.float64) for _ in range(3))
    whole = clipped_policy_loss(new, old, advantages, mask, clip_range=0.2, count=mask.sum())
    pieces = [
        clipped_policy_loss(new[i], old[i], advantages[i], mask[i], clip_range=0.2, count=mask.sum()).loss
        for i in (slice(0, 1), slice(1, 4))
    ]
    assert float(sum(pieces)) == pytest.approx(float(whole.loss), abs=1e-12)


def test_explained_variance_is_one_for_a_perfect_value_and_zero_for_a_constant_one() -> None:
    torch.manual_seed(0)
    returns, mask = torch.randn(3, 4), ragged_mask([4, 2, 3], 4)
    assert explained_variance(returns.clone(), returns, mask) == pytest.approx(1.0)
    assert explained_variance(torch.zeros(3, 4), returns, mask) == pytest.approx(0.0, abs=1e-6)
    assert explained_variance(torch.zeros(3, 4), torch.ones(3, 4), mask) == 0.0
