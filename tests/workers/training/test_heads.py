"""Hidden states at chosen positions, computed without what the others alone would need."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

from workers.training.heads import LLAMA_LIKE, body_and_head, hidden_at
from workers.training.recomputing import recomputing

pytestmark = pytest.mark.train

SHAPE = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 1}  # fmt: skip
CONFIGS = [
    LlamaConfig(**SHAPE), MistralConfig(**SHAPE, sliding_window=None), Qwen2Config(**SHAPE),
    Qwen3Config(**SHAPE, head_dim=8), SmolLM3Config(**SHAPE),
    GPT2Config(vocab_size=60, n_embd=32, n_layer=3, n_head=4, n_positions=64),
]  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_chosen_positions_equal_those_of_a_whole_pass(config) -> None:
    assert (config.model_type in LLAMA_LIKE) == (config.model_type != "gpt2")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).double().eval()  # where rounding hides nothing
    body, _ = body_and_head(model)
    ids = torch.randint(2, 60, (3, 12))
    where = torch.rand(3, 12) < 0.4
    found = []
    for take in (lambda: body(input_ids=ids).last_hidden_state[where], lambda: hidden_at(body, where, input_ids=ids)):
        model.zero_grad()
        hidden = take()
        hidden.square().sum().backward()
        found.append((hidden.detach(), [p.grad.clone() for p in body.parameters() if p.grad is not None]))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=0, atol=1e-9)
    for ours, plain in zip(found[1][1], found[0][1], strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-6, atol=1e-9)
    assert body(input_ids=ids).last_hidden_state.shape == (3, 12, 32), "a whole pass is whole again"


def test_the_last_mlp_sees_the_chosen_positions_alone() -> None:
    model = AutoModelForCausalLM.from_config(LlamaConfig(**SHAPE)).eval()
    seen = []
    for layer in model.model.layers:
        layer.mlp.register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape)))
    where = torch.zeros(2, 9, dtype=torch.bool)
    where[:, -2:] = True
    hidden_at(model.model, where, input_ids=torch.randint(2, 60, (2, 9)))
    assert seen == [(2, 9, 32), (2, 9, 32), (4, 32)]


def test_recomputed_on_the_way_back_it_is_the_chosen_positions_again() -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(LlamaConfig(**SHAPE)).eval()
    ids, where = torch.randint(2, 60, (3, 12)), torch.rand(3, 12) < 0.4
    found = []
    for wanted in (False, True):
        model.zero_grad()
        with recomputing(model, wanted=wanted):
            hidden_at(model.model, where, input_ids=ids).square().sum().backward()
        found.append([p.grad.clone() for p in model.model.parameters() if p.grad is not None])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*found, strict=True))


def test_after_an_error_a_pass_is_whole_again() -> None:
    model = AutoModelForCausalLM.from_config(LlamaConfig(**SHAPE)).eval()
    with pytest.raises(IndexError):
        hidden_at(model.model, torch.ones(5, 5, dtype=torch.bool), input_ids=torch.randint(2, 60, (2, 9)))
    assert model.model(input_ids=torch.randint(2, 60, (2, 9))).last_hidden_state.shape == (2, 9, 32)
