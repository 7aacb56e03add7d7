"""Low-rank adapters (LoRA): a few trained numbers beside frozen weights, merged into them when the model is saved."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from transformers.pytorch_utils import Conv1D


def add_lora(model: nn.Module, rank: int) -> None:
    """Puts low-rank adapters into every linear layer of the body, in place; only they train from here on."""
    from peft import LoraConfig, inject_adapter_in_model  # here: most runs need no adapters

    body = _body(model)
    linear = [name for name, module in body.named_modules() if isinstance(module, nn.Linear | Conv1D)]
    fan_in_fan_out = any(isinstance(module, Conv1D) for module in body.modules())
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=linear, fan_in_fan_out=fan_in_fan_out)
    model.requires_grad_(False)
    inject_adapter_in_model(config, body)
    if hasattr(model, "head"):  # a reward model's own, new at the start
        model.head.requires_grad_(True)


def merge_lora(model: nn.Module) -> None:
    """Adds the adapters into the weights they adapt and takes them out again, in place."""
    for name, module in _adapters(model):
        module.merge(safe_merge=True)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, module.get_base_layer())
    model.requires_grad_(True)


@contextmanager
def lora_off(model: nn.Module) -> Iterator[None]:
    """Inside the block the model computes as its base did; after it the adapters work and train again."""
    adapters = _adapters(model)
    for _, module in adapters:
        module.enable_adapters(False)
    try:
        yield
    finally:
        for _, module in adapters:
            module.enable_adapters(True)


def _body(model: nn.Module) -> nn.Module:
    """What is under the head: a reward model names it, a policy has it under its architecture's own name."""
    return model.body if hasattr(model, "body") else getattr(model, model.base_model_prefix)


def _adapters(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, module) for name, module in model.named_modules() if hasattr(module, "enable_adapters")
            and hasattr(module, "get_base_layer")]  # fmt: skip
