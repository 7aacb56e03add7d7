"""Advantages against a slow reference, and whitening over the whole batch."""

import pytest
import torch

from workers.rlhf.gae import estimate_advantages, whiten


def ragged_mask(lengths: list[int], width: int) -> torch.Tensor:
    return torch.arange(width) < torch.tensor(lengths)[:, None]


def slow_advantage(rewards: list[float], values: list[float], t: int, *, discount: float, gae_lambda: float) -> float:
    """The sum of the definition, term by term: the value after the last token is 0."""
    following = [*values[1:], 0.0]
    deltas = [r + discount * after - v for r, after, v in zip(rewards, following, values, strict=True)]
    return sum((discount * gae_lambda) ** (k - t) * deltas[k] for k in range(t, len(deltas)))


@pytest.mark.parametrize(("discount", "gae_lambda"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (1.0, 0.0)])
def test_22_gae_equals_slow_reference(discount: float, gae_lambda: float) -> None:
    torch.manual_seed(0)
    lengths = [1, 7, 4]
    mask = ragged_mask(lengths, 7)
    rewards, values = torch.randn(3, 7, dtype=torch.float64), torch.randn(3, 7, dtype=torch.float64)
    advantages, returns = estimate_advantages(rewards, values, mask, discount=discount, gae_lambda=gae_lambda)
    for row, length in enumerate(lengths):
        r, v = rewards[row, :length].tolist(), values[row, :length].tolist()
        for t in range(length):
            expected = slow_advantage(r, v, t, discount=discount, gae_lambda=gae_lambda)
            assert float(advantages[row, t]) == pytest.approx(expected, abs=1e-12)
            assert float(returns[row, t]) == pytest.approx(expected + v[t], abs=1e-12)


def test_22_terminal_bootstrap_is_zero_and_padding_gets_nothing() -> None:
    mask = ragged_mask([2, 3], 5)
    rewards = torch.tensor([[0.0, 1.0, 9.0, 9.0, 9.0], [0.0, 0.0, 2.0, 9.0, 9.0]])
    values = torch.full((2, 5), 7.0)
    advantages, returns = estimate_advantages(rewards, values, mask, discount=1.0, gae_lambda=1.0)
    assert torch.allclose(returns, torch.tensor([[1.0, 1.0, 0, 0, 0], [2.0, 2.0, 2.0, 0, 0]]))
    assert not advantages[~mask].any()


def test_21_whitening_is_over_the_whole_batch_and_ignores_padding() -> None:
    torch.manual_seed(0)
    mask = ragged_mask([3, 8, 1], 8)
    advantages = torch.randn(3, 8) * 5 + 2
    whitened = whiten(advantages, mask)
    assert float(whitened[mask].mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(whitened[mask].var(unbiased=False)) == pytest.approx(1.0, abs=1e-5)
    assert not whitened[~mask].any()
    per_row = torch.stack([whiten(row[None], keep[None])[0] for row, keep in zip(advantages, mask, strict=True)])
    assert not torch.allclose(whitened, per_row)


def test_21_whitened_rewards_keep_their_mean() -> None:
    torch.manual_seed(0)
    mask = ragged_mask([4, 2], 4)
    rewards = torch.randn(2, 4) * 3 - 1
    whitened = whiten(rewards, mask, shift_mean=False)
    assert float(whitened[mask].mean()) == pytest.approx(float(rewards[mask].mean()), abs=1e-6)
    assert float(whitened[mask].var(unbiased=False)) == pytest.approx(1.0, abs=1e-5)


def test_21_whitening_one_constant_gives_no_nan() -> None:
    assert torch.equal(whiten(torch.full((2, 2), 3.0), torch.ones(2, 2)), torch.zeros(2, 2))
