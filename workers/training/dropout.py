"""Residual dropout for architectures that have none of their own, such as Llama."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from workers.training.loop import CannotTrain

_BRANCHES = frozenset({"self_attn", "attn", "attention", "mlp", "feed_forward"})


def add_residual_dropout(model: nn.Module, rate: float) -> None:
    """Drops, while the model trains, from what each attention and MLP adds to the residual stream.

    That is where GPT-2 and GPT-3 have their residual dropout. An architecture's own dropout is set to 0, its layers
    and the rate that an attention without such a layer keeps as a number, so that `rate` is all there is. In
    evaluation mode nothing is dropped, and nothing of this is saved with the model.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0
    if not rate:
        return
    branches = _branches(model)
    if not branches:
        raise CannotTrain(
            f"Residual dropout has no place to act in a {type(model).__name__}: its attention and MLP were not found. "
            "Set dropout to 0."
        )
    for branch in branches:
        branch.register_forward_hook(_dropping(rate))


def _branches(model: nn.Module) -> list[nn.Module]:
    layers = [layer for module in model.modules() if isinstance(module, nn.ModuleList) for layer in module]
    return [child for layer in layers for name, child in layer.named_children() if name in _BRANCHES]


def _dropping(rate: float) -> Callable[..., Tensor | tuple]:
    def hook(module: nn.Module, _args: object, output: Tensor | tuple) -> Tensor | tuple:
        if not module.training:
            return output
        if isinstance(output, tuple):
            return (F.dropout(output[0], rate), *output[1:])
        return F.dropout(output, rate)

    return hook
