"""Log-probabilities of a prompt's completions, encoded together, against each conversation alone and token by token."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.workers.tiny import CONTEXT, save_base
from tests.workers.training.test_models import CONFIGS
from workers.training.completion_logprobs import completion_logprobs
from workers.training.models import load_policy
from workers.training.shared_prefix import shares_prefix

pytestmark = pytest.mark.train

PROMPTS = [[5, 9, 33, 7], [8], [41, 42, 43, 44, 45, 46, 47]]
COMPLETIONS = [[[90, 91, 0], [92, 0]], [[93, 94, 95, 96, 97, 0]], [[98, 0], [0], [99, 100, 101, 102, 0]]]


def slow(model: PreTrainedModel, prompt: list[int], completion: list[int]) -> Tensor:
    """The conversation alone and unpadded, every token's log-probability read off whole logits."""
    logprobs = model(torch.tensor([prompt + completion])).logits[0].log_softmax(-1)
    return torch.stack([logprobs[len(prompt) + t - 1, token] for t, token in enumerate(completion)]).sum()


def gradient(model: PreTrainedModel, sums: Tensor) -> Tensor:
    model.zero_grad()
    (sums * torch.linspace(-1, 1, len(sums))).sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("architecture", [*sorted(CONFIGS), "mistral with a window"])
def test_11_together_equals_alone_in_value_and_gradient(architecture: str, tmp_path: Path) -> None:
    config = CONFIGS[architecture.split()[0]]
    if "window" in architecture:
        config = type(config)(**{**config.to_dict(), "sliding_window": 4})
    model = load_policy(save_base(tmp_path / "base", config))
    assert shares_prefix(model.config) == ("window" not in architecture)
    ours = completion_logprobs(model, PROMPTS, COMPLETIONS)
    alone = [slow(model, prompt, own) for prompt, several in zip(PROMPTS, COMPLETIONS, strict=True) for own in several]
    torch.testing.assert_close(ours, torch.stack(alone), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient(model, ours), gradient(model, torch.stack(alone)), rtol=1e-3, atol=1e-5)


def test_a_completion_up_to_the_last_place_of_the_context(tmp_path: Path) -> None:
    model = load_policy(save_base(tmp_path / "base", CONFIGS["gpt2"]))
    prompts, completions = [[7] * (CONTEXT - 3), [9]], [[[8, 8, 0]], [[8] * 20 + [0]]]
    ours = completion_logprobs(model, prompts, completions)
    for found, prompt, (completion,) in zip(ours, prompts, completions, strict=True):
        torch.testing.assert_close(found, slow(model, prompt, completion), rtol=1e-5, atol=1e-5)
