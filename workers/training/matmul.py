"""Linear layers of a model on a CPU, multiplied by oneDNN.

PyTorch gives fp32 products to MKL, which uses half of the vector width of processors that are not Intel's. oneDNN,
which comes with PyTorch as well, chooses its code by what the processor can do: on an AMD EPYC twice as fast, the
result as exact. PyTorch's own name for it is private, so where it is missing a layer stays as it was.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_AVAILABLE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def multiply_by_onednn(model: nn.Module) -> None:
    """Turns the model's linear layers into ones that use oneDNN where they can; weights and names stay."""
    for module in model.modules():
        if _AVAILABLE and type(module) is nn.Linear:
            module.__class__ = OneDnnLinear


class OneDnnLinear(nn.Linear):
    """A linear layer like any other: what it holds, how it is saved and what it computes are unchanged."""

    laid_out: Tensor | None = None

    def forward(self, input: Tensor) -> Tensor:
        if self.laid_out is not None and _is_plain(input) and not torch.is_grad_enabled():
            return torch.ops.mkldnn._linear_pointwise(input, self.laid_out, self.bias, "none", [], "")
        if torch.is_grad_enabled() and _is_plain(input) and _is_plain(self.weight):
            return _Linear.apply(input, self.weight, self.bias)
        return product(input, self.weight, self.bias)


@contextmanager
def weights_laid_out(model: nn.Module) -> Iterator[None]:
    """Inside the block, where nothing may train, weights lie as oneDNN multiplies few rows by them fastest.

    Elsewhere it lays them out anew for every product. Costs the memory of a second copy.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, OneDnnLinear) and _is_plain(layer.weight)]
    for layer in layers:
        layer.laid_out = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
    try:
        yield
    finally:
        for layer in layers:
            layer.laid_out = None


def laid_out(*layers: nn.Module) -> Callable[[Tensor], Tensor]:
    """What these linear layers give for the same few rows, side by side; as they are now, and not differentiable.

    Plain ones are multiplied as one, with a copy of their weights that lies as oneDNN reads it fastest.
    """
    plain = [layer for layer in layers if type(layer) in (nn.Linear, OneDnnLinear) and _is_plain(layer.weight)]
    if len(plain) < len(layers):  # with adapters
        return lambda x: torch.cat([layer(x) for layer in layers], dim=-1)
    weight = torch.cat([layer.weight.detach() for layer in plain])
    biases = [layer.bias.detach() for layer in plain if layer.bias is not None]
    bias = torch.cat(biases) if biases else None
    if not _AVAILABLE:
        return partial(F.linear, weight=weight, bias=bias)
    laid = torch.ops.mkldnn._reorder_linear_weight(weight)
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, laid, bias, "none", [], "")


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (..., I) times the transpose of weight (O, I): (..., O). Not differentiable."""
    if _AVAILABLE and _is_plain(x) and _is_plain(weight):
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return F.linear(x, weight, bias)


def _is_plain(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32 and tensor.numel() > 0


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return product(x, weight, bias)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        grad = grad.contiguous()
        rows, x_rows = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1])  # (N, O), (N, I)
        return (
            product(grad, weight.T) if wants_x else None,
            weight_gradient(rows, x_rows) if wants_weight else None,
            rows.sum(0) if ctx.has_bias and wants_bias else None,
        )


def weight_gradient(grad: Tensor, x: Tensor) -> Tensor:
    """(O, I) from (N, O) and (N, I); the shorter side as rows is the faster way round."""
    if grad.shape[1] > x.shape[1]:
        return product(x.T, grad.T).T
    return product(grad.T, x.T)
