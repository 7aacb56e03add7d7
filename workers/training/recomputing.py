"""Activation checkpointing: layers that keep only what goes into them and compute the rest again on the way back."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from workers.training.loop import CannotTrain


@contextmanager
def recomputing(model: nn.Module, *, wanted: bool) -> Iterator[None]:
    """Inside the block, a forward pass whose gradient is wanted keeps one hidden state a layer; results are the same.

    The layers' own flag for training is what makes transformers do so; it is set on them alone, so that dropout stays
    as it is. Outside the block passes that fill a cache of keys and values work as ever.
    """
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)] if wanted else []
    if wanted and not layers:
        raise CannotTrain(
            f"A {type(model).__name__} has no layers whose activations could be computed again. "
            "Turn activation_checkpointing off."
        )
    were = [layer.training for layer in layers]
    for layer in layers:
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
        layer.gradient_checkpointing = layer.training = True
    try:
        yield
    finally:
        for layer, was in zip(layers, were, strict=True):
            layer.gradient_checkpointing, layer.training = False, was
