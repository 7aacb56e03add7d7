"""Low-rank adapters (LoRA): a few trained numbers beside frozen weights, merged into them when the model is saved.

Unmerged, a model's folder holds the weights as they were before training, and in `adapter/` what peft reads:

    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), folder / "adapter")
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

FOLDER = "adapter"
_PEFT_PREFIX = "base_model.model."  # of every name in peft's files


@dataclass(frozen=True, slots=True)
class Adapter:
    """What a model's adapters are, apart from the model: peft's settings, and their weights by peft's names."""

    settings: dict[str, Any]
    weights: dict[str, Tensor]


def add_lora(model: nn.Module, rank: int) -> None:
    """Puts low-rank adapters into every linear layer of the body, in place; only they train from here on."""
    from peft import LoraConfig  # here: most runs need no adapters

    linear = [name for name, module in _body(model).named_modules() if isinstance(module, nn.Linear | Conv1D)]
    _inject(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=linear, fan_in_fan_out=_transposes(model)))


def _inject(model: nn.Module, config: Any) -> None:
    from peft import inject_adapter_in_model

    model.requires_grad_(False)
    inject_adapter_in_model(config, _body(model))
    if hasattr(model, "head"):  # a reward model's own, new at the start
        model.head.requires_grad_(True)


def _transposes(model: nn.Module) -> bool:
    """GPT-2 keeps its matrices the other way round."""
    return any(isinstance(module, Conv1D) for module in _body(model).modules())


def has_lora(model: nn.Module) -> bool:
    return bool(_adapters(model))


def merge_lora(model: nn.Module) -> None:
    """Adds the adapters into the weights they adapt and takes them out again, in place."""
    for name, module in _adapters(model):
        module.merge(safe_merge=True)
        _put_back(model, name, module)
    model.requires_grad_(True)


def detach_lora(model: nn.Module) -> Adapter | None:
    """Takes the adapters out in place, the weights as they were before training; none if the model has none."""
    from peft import LoraConfig

    adapters = _adapters(model)
    if not adapters:
        return None
    first = adapters[0][1]
    config = LoraConfig(r=first.r["default"], lora_alpha=first.lora_alpha["default"], fan_in_fan_out=_transposes(model))
    settings = config.to_dict() | {"target_modules": sorted(name for name, _ in adapters)}  # peft's set has no order
    weights = {}
    for name, module in adapters:
        for part in ("lora_A", "lora_B"):
            weight = getattr(module, part)["default"].weight
            weights[f"{_PEFT_PREFIX}{name}.{part}.weight"] = weight.detach().contiguous().clone()
        _put_back(model, name, module)
    return Adapter(settings, weights)


def save_adapter(adapter: Adapter, folder: Path) -> None:
    """Writes the two files that peft reads."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(adapter.settings, indent=2, default=str))
    save_file(adapter.weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def load_adapter(model: nn.Module, folder: Path) -> None:
    """Puts the adapters in `folder` on the model that they were trained on, in place; they train from here on."""
    from peft import LoraConfig

    config = LoraConfig.from_pretrained(folder)
    inside = f"{model.base_model_prefix}."
    config.target_modules = [name.removeprefix(inside) for name in config.target_modules]
    _inject(model, config)
    weights = load_file(folder / "adapter_model.safetensors")
    with torch.no_grad():
        for name, module in _adapters(model):
            for part in ("lora_A", "lora_B"):
                getattr(module, part)["default"].weight.copy_(weights[f"{_PEFT_PREFIX}{name}.{part}.weight"])


def share_weights(model: nn.Module, owner: nn.Module) -> int:
    """Lets every frozen weight of `model`'s body that equals `owner`'s bit for bit be the same memory; bytes saved.

    Neither may train them: with adapters neither does.
    """
    owned = dict(_plain_names(_body(owner)))
    saved = 0
    for name, parameter in _plain_names(_body(model)):
        other = owned.get(name)
        if other is None or parameter.requires_grad or other.requires_grad or parameter.data_ptr() == other.data_ptr():
            continue
        if parameter.shape == other.shape and torch.equal(parameter, other):
            parameter.data = other.data
            saved += other.numel() * other.element_size()
    return saved


def _plain_names(body: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """A body's weights by the names that they have without adapters."""
    for name, parameter in body.named_parameters():
        yield name.replace(".base_layer.", "."), parameter


def _put_back(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module.get_base_layer())


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
