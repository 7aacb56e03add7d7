"""What a language model is made of, and log-probabilities of chosen positions without a (batch, length, vocabulary)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

LOGITS_AT_ONCE = 1 << 24  # floats held for one chunk of logits: 64 MiB


def body_and_head(model: PreTrainedModel) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """Split a causal language model: (..., d) hidden states from its body, (..., V) logits from its head.

    `model` may carry LoRA layers; the peft wrapper itself is looked through. Logit scaling and soft caps of
    the architectures that have them are part of the head.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    body = getattr(inner, inner.base_model_prefix)
    output = inner.get_output_embeddings()
    scale = logit_scale(inner)
    cap = getattr(inner.config, "final_logit_softcapping", None)

    def head(hidden: Tensor) -> Tensor:
        logits = output(hidden)
        if scale != 1.0:
            logits = logits * scale
        return torch.tanh(logits / cap) * cap if cap else logits

    return body, head


def logit_scale(model: PreTrainedModel) -> float:
    """Granite divides its logits, Cohere multiplies them."""
    divided_by = getattr(model.config, "logits_scaling", None)
    return 1.0 / divided_by if divided_by else float(getattr(model.config, "logit_scale", None) or 1.0)


def token_logprobs(
    head: Callable[[Tensor], Tensor], hidden: Tensor, targets: Tensor, *, temperature: float = 1.0
) -> Tensor:
    """log pi(target) for each of n positions: hidden (n, d), targets (n,) -> (n,).

    Logits exist for one chunk of positions at a time, and are computed again on the way back.
    """

    def chunk_logprobs(hidden: Tensor, targets: Tensor) -> Tensor:
        return -F.cross_entropy(head(hidden).float() / temperature, targets, reduction="none")

    vocabulary = head(hidden[:1]).shape[-1]
    size = max(1, LOGITS_AT_ONCE // vocabulary)
    if len(hidden) <= size:
        return chunk_logprobs(hidden, targets)
    pieces = zip(hidden.split(size), targets.split(size), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([chunk_logprobs(*piece) for piece in pieces])
    return torch.cat([checkpoint(chunk_logprobs, *piece, use_reentrant=False) for piece in pieces])
