"""Which tokens count, where each stands, and what each may look at."""

import torch
from torch import Tensor


def position_ids(attention_mask: Tensor) -> Tensor:
    """Positions (B, T) that count real tokens only, so that padding on either side changes nothing."""
    return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)


def last_real_token(attention_mask: Tensor) -> Tensor:
    """Index (B,) of each row's last real token, whatever the padding's side, amount or token id."""
    if not bool(attention_mask.any(-1).all()):
        raise ValueError("A row without any real token has no last token.")
    from_the_end = attention_mask.flip(-1).long().argmax(-1)
    return attention_mask.shape[-1] - 1 - from_the_end


def take_last(values: Tensor, attention_mask: Tensor) -> Tensor:
    """values (B, T) or (B, T, D) at each row's last real token: (B,) or (B, D)."""
    rows = torch.arange(values.shape[0], device=values.device)
    return values[rows, last_real_token(attention_mask).to(values.device)]


def completion_targets(lengths: list[tuple[int, int]], width: int) -> Tensor:
    """Mask (B, width) of the positions whose next token belongs to the completion, for (prompt, completion) lengths.

    Position t predicts token t + 1, so a prompt of P tokens and a completion of C tokens (its end token among them)
    make positions P - 1 to P + C - 2 count.
    """
    mask = torch.zeros((len(lengths), width), dtype=torch.bool)
    for row, (prompt, completion) in enumerate(lengths):
        mask[row, max(prompt - 1, 0) : prompt + completion - 1] = True
    return mask


def shared_prefix_mask(prompt_mask: Tensor, width: int) -> Tensor:
    """What `width` completion tokens may look at: their prompt's real tokens, and themselves causally.

    prompt_mask (N, P), each completion's own prompt, padded on the right -> (N, 1, width, P + width), True = may look.
    """
    n = prompt_mask.shape[0]
    causal = torch.ones((width, width), dtype=torch.bool, device=prompt_mask.device).tril()
    to_prompt = prompt_mask.bool()[:, None, None, :].expand(n, 1, width, -1)
    return torch.cat([to_prompt, causal.expand(n, 1, width, width)], dim=-1)
