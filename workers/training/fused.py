"""Norms and gates of Llama-like models on a CPU, in fewer passes over memory: what autograd keeps and does, by hand.

In fp32 on a CPU these small operations are a fifth of a training step, each of them reading and writing whole hidden
states. The formulas are the layers' own; sums are rounded in another order.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.activations import SiLUActivation

from workers.training.heads import LLAMA_LIKE


def fuse(model: PreTrainedModel) -> None:
    """Lets the model's RMS norms and gated MLPs compute so where they run in fp32 on a CPU; weights and names stay."""
    if model.config.model_type not in LLAMA_LIKE:  # elsewhere a norm of that name may have another formula
        return
    for module in model.modules():
        kind = type(module)
        if isinstance(module, _FusedNorm | _FusedMlp):
            continue
        if kind.__name__.endswith("RMSNorm"):
            module.__class__ = _subclass(kind, _FusedNorm)
        elif kind.__name__.endswith("MLP") and isinstance(module.act_fn, nn.SiLU | SiLUActivation):
            module.__class__ = _subclass(kind, _FusedMlp)


@cache
def _subclass(kind: type, way: type) -> type:
    """The layer's own class with its forward pass replaced, by the same name."""
    return type(kind.__name__, (way, kind), {})


def _is_plain(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32


class _FusedNorm(nn.Module):
    def forward(self, hidden_states: Tensor) -> Tensor:
        if not _is_plain(hidden_states):
            return super().forward(hidden_states)
        return RmsNorm.apply(hidden_states, self.weight, self.variance_epsilon)


class _FusedMlp(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if not _is_plain(x):
            return super().forward(x)
        return self.down_proj(Gate.apply(self.gate_proj(x), self.up_proj(x)))


class RmsNorm(torch.autograd.Function):
    """weight * x / sqrt(mean(x^2) + eps) over the last dimension: (..., d), (d,) -> (..., d)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = torch.rsqrt(length.square_().div_(x.shape[-1]).add_(eps))  # (..., 1)
        ctx.save_for_backward(x, weight, inverse)
        return (x * inverse).mul_(weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight, inverse = ctx.saved_tensors
        normed = x * inverse
        product = grad * normed
        along = (product @ weight).div_(x.shape[-1]).unsqueeze(-1)  # what of the gradient points along x: (..., 1)
        given = (grad * weight).addcmul_(normed, along, value=-1).mul_(inverse) if ctx.needs_input_grad[0] else None
        return given, product.flatten(0, -2).sum(0) if ctx.needs_input_grad[1] else None, None


class Gate(torch.autograd.Function):
    """silu(gate) * up, of one shape."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        return torch.ops.aten.silu_backward(grad * up, gate), F.silu(gate).mul_(grad)
