"""Norms and gates in fewer passes: what they compute, and what they leave as it was."""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from tests.workers.training.test_heads import CONFIGS
from workers.training.adapters import add_lora, merge_lora
from workers.training.fused import Gate, RmsNorm, fuse
from workers.training.models import load_policy

pytestmark = pytest.mark.train

IDS = torch.randint(2, 60, (3, 12), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_a_model_computes_what_it_did_and_learns_what_it_did(config) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # norms that all start at 1 would hide their weights
    found = []
    for step in range(2):
        model.zero_grad()
        logits = model(IDS).logits
        logits.square().mean().backward()
        found.append((logits.detach(), [p.grad.clone() for p in model.parameters()]))
        names = [type(module).__name__ for module in model.modules()]
        fuse(model)
        assert [type(module).__name__ for module in model.modules()] == names, step
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-5, atol=1e-5)
    for fused, plain in zip(found[1][1], found[0][1], strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-5)
    changed = sum(module.forward.__func__.__module__.endswith("fused") for module in model.modules())
    assert changed == {"gpt2": 0, "qwen3": 16}.get(config.model_type, 10)  # of 3 layers: 2 norms and an MLP, and a norm


def test_gradients_are_those_of_the_formula() -> None:
    torch.manual_seed(1)
    x, weight, up = (
        torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 3, 5), (5,), (2, 3, 5))
    )
    assert torch.autograd.gradcheck(lambda x, w: RmsNorm.apply(x, w, 1e-5), (x, weight))
    assert torch.autograd.gradcheck(Gate.apply, (x, up))


def test_frozen_weights_get_no_gradient() -> None:
    x, weight = torch.randn(2, 5, requires_grad=True), torch.randn(5)
    RmsNorm.apply(x, weight, 1e-5).sum().backward()
    assert x.grad is not None
    weight.requires_grad_()
    RmsNorm.apply(x.detach(), weight, 1e-5).sum().backward()
    assert weight.grad is not None


def test_other_precisions_are_left_to_the_layers_own_code() -> None:
    model = AutoModelForCausalLM.from_config(CONFIGS[0]).eval().to(torch.bfloat16)
    before = model(IDS).logits
    fuse(model)
    assert torch.equal(model(IDS).logits, before)


def test_policies_are_loaded_so_and_take_adapters(base: Path) -> None:
    model, plain = load_policy(base), AutoModelForCausalLM.from_pretrained(base)
    torch.testing.assert_close(model(IDS).logits, plain(IDS).logits, rtol=0, atol=1e-5)
    assert isinstance(model.model.norm, nn.Module)
    assert model.model.norm.forward.__func__.__module__ == "workers.training.fused"
    add_lora(model, 2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.1)
    adapted = model(IDS).logits
    assert not torch.allclose(adapted, plain(IDS).logits, atol=1e-3)
    merge_lora(model)
    torch.testing.assert_close(model(IDS).logits, adapted, rtol=0, atol=1e-4)
