"""What a language model is made of, and log-probabilities of chosen positions without a (batch, length, vocabulary)."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from workers.training.matmul import product, weight_gradient

LLAMA_LIKE = frozenset({"llama", "mistral", "qwen2", "qwen3", "smollm3"})
LOGITS_AT_ONCE = 1 << 24  # floats held for one chunk of logits: 64 MiB
LOGITS_IN_CACHE = 1 << 22  # on a CPU, a chunk that its cache still has when the gradient is made from it


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


def hidden_at(body: nn.Module, where: Tensor, **inputs: object) -> Tensor:
    """The body's last hidden states at the positions where `where` (B, T) is true: (n, d), row by row.

    No position looks at another after the last layer's attention, so from there on only these are computed.
    """
    layer = last_layer(body)
    if layer is None:
        return body(use_cache=False, **inputs).last_hidden_state[where]

    def forward(hidden: Tensor, **how: object) -> Tensor:
        attended, _ = layer.self_attn(hidden_states=layer.input_layernorm(hidden), **how)
        hidden = (hidden + attended)[where]  # (n, d)
        return hidden + layer.mlp(layer.post_attention_layernorm(hidden))

    # What is computed again on the way back must be this forward as well, which by then is no longer the layer's own.
    again = layer.gradient_checkpointing
    layer.forward = partial(layer._gradient_checkpointing_func, forward) if again else forward
    layer.gradient_checkpointing = False
    try:
        return body(use_cache=False, **inputs).last_hidden_state
    finally:
        layer.gradient_checkpointing = again
        del layer.forward


def last_layer(body: nn.Module) -> nn.Module | None:
    """The body's last layer if it is built as Llama's are: attention, then MLP, each on a residual stream."""
    return body.layers[-1] if body.config.model_type in LLAMA_LIKE else None


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


def summed_nll(model: PreTrainedModel, hidden: Tensor, targets: Tensor) -> Tensor:
    """Sum of -log pi(target) over n positions: hidden (n, d), targets (n,) -> ().

    Where the head is a matrix and nothing else, its gradient is made on the way forward from each chunk of logits, so
    that none is kept or computed again (Hsu et al. 2024, Liger Kernel, arXiv 2410.10989, section 3.2).
    """
    matrix = _head_matrix(model)
    if matrix is not None and torch.is_grad_enabled():
        return _SummedNll.apply(hidden, matrix, targets)
    return -token_logprobs(body_and_head(model)[1], hidden, targets).sum()


def _head_matrix(model: PreTrainedModel) -> Tensor | None:
    """The head's weight (V, d), if there is nothing more to the head."""
    output = model.get_output_embeddings()
    is_scaled = logit_scale(model) != 1.0 or getattr(model.config, "final_logit_softcapping", None)
    is_matrix = isinstance(output, nn.Linear) and output.bias is None and not is_scaled
    return output.weight if is_matrix else None


class _SummedNll(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        at_once = LOGITS_IN_CACHE if hidden.device.type == "cpu" else LOGITS_AT_ONCE
        size = max(1, at_once // len(weight))
        total = hidden.new_zeros((), dtype=torch.float32)
        hidden_grad = torch.empty_like(hidden)
        weight_grad = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for rows, wanted, grad in zip(hidden.split(size), targets.split(size), hidden_grad.split(size), strict=True):
            logprobs = product(rows, weight).float().log_softmax(dim=-1)  # (chunk, V)
            total -= logprobs.gather(1, wanted[:, None]).sum()
            error = logprobs.exp_()  # its gradient: the probabilities, less 1 at the target
            error.scatter_add_(1, wanted[:, None], -error.new_ones(len(wanted), 1))
            grad.copy_(product(error, weight.T))
            if weight_grad is not None:
                weight_grad += weight_gradient(error, rows)
        ctx.save_for_backward(hidden_grad, weight_grad)
        return total

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        hidden_grad, weight_grad = ctx.saved_tensors
        return hidden_grad * grad, None if weight_grad is None else weight_grad * grad, None
