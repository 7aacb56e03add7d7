"""RLOO's rewards and advantages against slow loops."""

import pytest
import torch

from workers.rlhf.rloo import leave_one_out, sequence_rewards

pytestmark = pytest.mark.train


def test_each_advantage_is_the_reward_less_the_mean_of_the_others() -> None:
    rewards = torch.tensor([[1.0, 2.0, 6.0], [0.5, 0.5, 0.5], [-3.0, 4.0, 0.0]])
    slow = [
        [own[i] - sum(other for j, other in enumerate(own) if j != i) / (len(own) - 1) for i in range(len(own))]
        for own in rewards.tolist()
    ]
    torch.testing.assert_close(leave_one_out(rewards), torch.tensor(slow))


def test_what_all_completions_of_a_prompt_share_decides_nothing() -> None:
    rewards = torch.tensor([[1.0, 2.0, 6.0]])
    torch.testing.assert_close(leave_one_out(rewards + 100.0), leave_one_out(rewards))
    assert leave_one_out(rewards).sum().item() == pytest.approx(0)


def test_the_baseline_keeps_the_gradient_unbiased() -> None:
    """Over all pairs of draws, the mean of advantage x score function is that of reward x score function."""
    logits = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)
    worth = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    chance = logits.softmax(0)
    score = torch.eye(3, dtype=torch.float64) - chance  # row a: gradient of log pi(a)
    exact = (chance[:, None] * worth[:, None] * score).sum(0)
    found = torch.zeros(3, dtype=torch.float64)
    for a in range(3):
        for b in range(3):
            advantages = leave_one_out(torch.stack([worth[a], worth[b]])[None])[0]
            found += chance[a] * chance[b] * (advantages[0] * score[a] + advantages[1] * score[b]) / 2
    torch.testing.assert_close(found, exact)


def test_one_completion_has_no_others() -> None:
    with pytest.raises(AssertionError, match="a baseline only if there are some"):
        leave_one_out(torch.ones(3, 1))


def test_a_completions_reward_holds_its_whole_kl_and_the_penalty_once() -> None:
    found = sequence_rewards(
        torch.tensor([1.0, 2.0]), torch.tensor([-5.0, -3.0]), torch.tensor([-9.0, -2.0]), kl_coefficient=0.1,
        missing_eos=torch.tensor([False, True]), missing_eos_penalty=0.5,
    )  # fmt: skip
    torch.testing.assert_close(found, torch.tensor([1.0 - 0.1 * 4, 2.0 + 0.1 * 1 - 0.5]))
