"""KL estimators against the exact KL, and the controller's arithmetic."""

import pytest
import torch

from workers.rlhf.kl import KlController, kl_k1, kl_k2, kl_k3


def test_18_k3_is_never_negative_and_zero_without_a_difference() -> None:
    torch.manual_seed(0)
    logprobs, ref_logprobs = -torch.rand(1000) * 8, -torch.rand(1000) * 8
    assert bool((kl_k3(logprobs, ref_logprobs) >= 0).all())
    assert bool((kl_k1(logprobs, ref_logprobs) < 0).any())
    for estimator in (kl_k1, kl_k2, kl_k3):
        assert not estimator(logprobs, logprobs).any()


def test_18_k1_and_k3_have_the_exact_kl_as_their_mean() -> None:
    torch.manual_seed(0)
    policy, reference = torch.randn(50).log_softmax(0).double(), torch.randn(50).log_softmax(0).double()
    exact = float((policy.exp() * (policy - reference)).sum())
    for estimator in (kl_k1, kl_k3):
        assert float((policy.exp() * estimator(policy, reference)).sum()) == pytest.approx(exact, abs=1e-6)


def test_26_adaptive_kl_follows_zieglers_rule() -> None:
    controller = KlController(0.2, target=6.0, horizon=10_000)
    controller.update(12.0, episodes=512)  # error 1, held at 0.2
    assert controller.coefficient == pytest.approx(0.2 * (1 + 0.2 * 512 / 10_000))
    controller.update(6.6, episodes=100)  # error 0.1
    assert controller.coefficient == pytest.approx(0.2 * (1 + 0.2 * 512 / 10_000) * (1 + 0.1 * 100 / 10_000))
    before = controller.coefficient
    controller.update(0.0, episodes=512)  # error -1, held at -0.2
    assert controller.coefficient == pytest.approx(before * (1 - 0.2 * 512 / 10_000))


def test_26_fixed_kl_stays() -> None:
    controller = KlController(0.02)
    controller.update(100.0, episodes=512)
    assert controller.coefficient == 0.02
