"""What a model's own plain pass says of completions that were drawn from it."""

import torch
from transformers import PreTrainedModel

from workers.training.rollout import Drawn


def require_own_logprobs(model: PreTrainedModel, prompts: list[list[int]], drawn: list[list[Drawn]]) -> None:
    for prompt, own in zip(prompts, drawn, strict=True):
        for completion in own:
            with torch.no_grad():
                logits = model(torch.tensor([prompt + completion.tokens])).logits[0, len(prompt) - 1 : -1]
            expected = logits.log_softmax(-1).gather(1, torch.tensor(completion.tokens)[:, None])[:, 0]
            torch.testing.assert_close(torch.tensor(completion.logprobs), expected, rtol=0, atol=1e-4)
