"""Log-probabilities of several completions of a prompt, the prompt encoded once for all of them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from workers.rlhf.masking import completion_targets
from workers.training.batching import pad
from workers.training.heads import body_and_head, token_logprobs
from workers.training.shared_prefix import predicting_hidden, shares_prefix


def completion_logprobs(
    model: PreTrainedModel,
    prompts: Sequence[list[int]],
    completions: Sequence[list[list[int]]],
    *,
    temperature: float = 1.0,
) -> Tensor:
    """log pi of every prompt's completions, in order, summed over each one's tokens in nats: (N,).

    Where a completion ends with its end token, that counts as one of its tokens.
    """
    body, head = body_and_head(model)
    flat = [completion for own in completions for completion in own]
    if shares_prefix(model.config):
        hidden = predicting_hidden(body, prompts, completions)  # (n, d)
    else:
        whose = [prompt for prompt, own in zip(prompts, completions, strict=True) for _ in own]
        hidden = _whole_rows(body, whose, flat, device=model.device)
    targets = torch.tensor([token for completion in flat for token in completion], device=model.device)  # (n,)
    rows = torch.tensor([row for row, completion in enumerate(flat) for _ in completion], device=model.device)
    logprobs = token_logprobs(head, hidden, targets, temperature=temperature)
    return logprobs.new_zeros(len(flat)).index_add(0, rows, logprobs)


def _whole_rows(
    body: nn.Module, prompts: Sequence[list[int]], completions: Sequence[list[int]], *, device: torch.device
) -> Tensor:
    """What predicts each token where the architecture shares no keys and values: the prompt again for each, (n, d)."""
    ids, _ = pad([p + c for p, c in zip(prompts, completions, strict=True)], value=0)  # (N, T)
    where = completion_targets([(len(p), len(c)) for p, c in zip(prompts, completions, strict=True)], ids.shape[1])
    return body(input_ids=ids.to(device), use_cache=False).last_hidden_state[where.to(device)]
