"""Linear layers through oneDNN: what PyTorch's own compute, and on the way back as well."""

import copy

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from tests.workers.tiny import tiny_config
from workers.training.matmul import OneDnnLinear, multiply_by_onednn, weights_laid_out

pytestmark = pytest.mark.train


def both(features: tuple[int, int], *, bias: bool) -> tuple[nn.Linear, nn.Linear]:
    torch.manual_seed(0)
    plain = nn.Linear(*features, bias=bias)
    ours = copy.deepcopy(plain)
    multiply_by_onednn(ours)
    assert type(ours) is OneDnnLinear  # else this shows nothing
    return plain, ours


def gradients(layer: nn.Linear, x: Tensor) -> list[Tensor]:
    x = x.detach().requires_grad_()
    out = layer(x)
    out.backward(torch.linspace(-1, 1, out.numel()).view_as(out))
    return [out.detach(), x.grad, *(p.grad for p in layer.parameters())]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("features", [(24, 40), (40, 24), (16, 1), (1, 16)])
@pytest.mark.parametrize("shape", [(), (7,), (1,), (3, 5), (2, 1, 4)])
def test_values_and_gradients_are_those_of_a_linear_layer(
    features: tuple[int, int], shape: tuple[int, ...], bias: bool
) -> None:
    plain, ours = both(features, bias=bias)
    x = torch.randn(*shape, features[0])
    for mine, theirs in zip(gradients(ours, x), gradients(plain, x), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


def test_views_and_expanded_gradients_are_read_as_they_are() -> None:
    plain, ours = both((6, 8), bias=True)
    x = torch.randn(6, 10).T
    for layer in (plain, ours):
        layer(x[::2]).sum().backward()  # the gradient of a sum is one number, expanded
    torch.testing.assert_close(ours(x[::2]), plain(x[::2]))
    torch.testing.assert_close(ours.weight.grad, plain.weight.grad)


def test_frozen_weights_get_no_gradient_and_pass_it_on() -> None:
    plain, ours = both((6, 8), bias=False)
    for layer in (plain, ours):
        layer.requires_grad_(False)
    x = [torch.ones(3, 6, requires_grad=True) for _ in range(2)]
    plain(x[0]).sum().backward()
    ours(x[1]).sum().backward()
    assert ours.weight.grad is None
    torch.testing.assert_close(x[1].grad, x[0].grad)


def test_no_rows_and_other_numbers_go_the_usual_way() -> None:
    _, ours = both((6, 8), bias=True)
    assert ours(torch.zeros(0, 6)).shape == (0, 8)
    assert ours.double()(torch.zeros(2, 6, dtype=torch.float64)).dtype == torch.float64


def test_laid_out_weights_give_the_same_and_are_read_anew_each_time() -> None:
    plain, ours = both((24, 40), bias=True)
    x = torch.randn(3, 5, 24)
    for _ in range(2):
        with torch.no_grad(), weights_laid_out(ours):
            torch.testing.assert_close(ours(x), plain(x), rtol=1e-5, atol=1e-5)
            assert ours(x[:0]).shape == (0, 5, 40)
        with torch.no_grad():
            plain.weight *= 2
            ours.weight *= 2
    torch.testing.assert_close(ours(x), plain(x), rtol=1e-5, atol=1e-5)
    assert ours(x).requires_grad


def test_a_model_computes_and_saves_what_it_did() -> None:
    torch.manual_seed(0)
    plain = LlamaForCausalLM(tiny_config()).eval()
    ours = copy.deepcopy(plain)
    multiply_by_onednn(ours)
    ids = torch.arange(12).view(2, 6)
    torch.testing.assert_close(ours(ids).logits, plain(ids).logits, rtol=1e-5, atol=1e-5)
    assert ours.state_dict().keys() == plain.state_dict().keys()
    assert ours.lm_head.weight is ours.model.embed_tokens.weight or not plain.config.tie_word_embeddings
