"""Rows that are continued by the weights alone: what the model's own pass computes, however rows come and go."""

import pytest
import torch
from transformers import LlamaConfig, PreTrainedConfig, PreTrainedModel, SmolLM3Config

from tests.workers.architectures import PACKED, SHAPE, WINDOWED, of_architecture
from tests.workers.training.plain_pass import require_own_logprobs
from tests.workers.training.tiny_ppo import token_prompts
from workers.training.adapters import add_lora
from workers.training.rollout import Batch, Decoding, Drawn, draw_completions, uniform_numbers
from workers.training.rows_by_weights import Groups, RowsByWeights, States, attend, goes_by_weights, grouped

pytestmark = pytest.mark.train

LLAMA_LIKE = [config for config in PACKED if not config.model_type.startswith("gpt")]


def drawn_by(model: PreTrainedModel, prompts: list[list[int]], *, copies: int, rows: int) -> list[list[Drawn]]:
    """Completions of up to 40 tokens that end early here and there."""
    uniforms = uniform_numbers(5, "rows", shape=(len(prompts), copies, 40))
    decoding = Decoding(max_new_tokens=40, eos_ids=frozenset(range(12)), rows=rows)
    return draw_completions(model, prompts, uniforms, decoding=decoding)


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("config", LLAMA_LIKE, ids=lambda config: config.model_type)
def test_13_they_have_the_log_probabilities_of_the_models_own_pass(config: PreTrainedConfig, copies: int) -> None:
    model, prompts = of_architecture(config), token_prompts([7, 1, 20, 3, 5, 5, 2])
    assert goes_by_weights(model)
    drawn = drawn_by(model, prompts, copies=copies, rows=7)
    assert {completion.ended for own in drawn for completion in own} == {True, False}
    require_own_logprobs(model, prompts, drawn)


@pytest.mark.parametrize("rank", [0, 4])
def test_13_biases_and_adapters_take_part(rank: int) -> None:
    model = of_architecture(LlamaConfig(**SHAPE, attention_bias=True, mlp_bias=True))
    if rank:
        add_lora(model, rank)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or name.endswith("bias"):
                parameter.normal_(std=0.1)
    require_equal_to_its_own_pass(model)


def test_13_scaled_positions_and_layers_without_any_take_part() -> None:
    scaled = {"rope_type": "llama3", "rope_theta": 10_000.0, "factor": 8.0, "low_freq_factor": 1.0,
              "high_freq_factor": 4.0, "original_max_position_embeddings": 16}  # fmt: skip
    require_equal_to_its_own_pass(of_architecture(LlamaConfig(**SHAPE, rope_parameters=scaled)))
    require_equal_to_its_own_pass(of_architecture(SmolLM3Config(**SHAPE, no_rope_layers=[0, 1])))


def require_equal_to_its_own_pass(model: PreTrainedModel) -> None:
    assert goes_by_weights(model)
    prompts = token_prompts([30, 4, 9])
    require_own_logprobs(model, prompts, drawn_by(model, prompts, copies=2, rows=4))


def test_what_has_another_formula_goes_by_the_model() -> None:
    changing = {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 2.0}
    others = [PACKED[-1], PACKED[-2], *WINDOWED, LlamaConfig(**SHAPE, rope_parameters=changing)]
    assert [goes_by_weights(of_architecture(config)) for config in others] == [False] * len(others)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not goes_by_weights(of_architecture(PACKED[0]))


def test_a_prompts_keys_are_kept_once_and_only_while_its_completions_are_drawn() -> None:
    model, prompts = of_architecture(PACKED[0]), token_prompts([6, 3, 4, 9, 5])
    uniforms = uniform_numbers(5, "rows", shape=(5, 3, 40))
    batch = Batch(model, prompts, uniforms, Decoding(max_new_tokens=40, eos_ids=frozenset(range(60)), rows=6))
    with torch.no_grad():
        while batch.make_room():
            assert isinstance(batch.rows, RowsByWeights)
            batch.step()
            keys = batch.rows.states[0].prompt_keys
            writing = {owner[0] for owner in batch.owner if owner}
            assert keys is not None
            assert len(writing) <= keys.shape[1] <= len(batch.owner)


def slow_attention(query: torch.Tensor, states: States, line: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The same, a row and a head at a time."""
    out = torch.empty_like(query)
    for head, row, one in ((h, r, g) for h in range(2) for r in range(5) for g in range(3)):
        keys = torch.cat([states.prompt_keys[head, line[row]], states.keys[head, row]])
        values = torch.cat([states.prompt_values[head, line[row]], states.values[head, row]])
        scores = keys @ query[head, row, one] * 0.5 + mask[row, 0]
        out[head, row, one] = scores.softmax(0) @ values
    return out


@pytest.mark.parametrize(("line", "live"), [([0, 0, 1, 1, 1], [1, 1, 1, 1, 1]), ([2, 0, 1, 0, 0], [1, 1, 1, 0, 1])])
def test_attention_over_shared_prompts_equals_a_slow_reference(line: list[int], live: list[int]) -> None:
    torch.manual_seed(0)
    lines, going = torch.tensor(line), torch.tensor(live, dtype=torch.bool)
    states = States(*torch.randn(2, 2, 5, 4, 8), *torch.randn(2, 2, 3, 6, 8))
    mask = torch.zeros(5, 1, 10).masked_fill(torch.rand(5, 1, 10) < 0.3, -torch.inf)
    mask[:, :, -1] = 0
    states.prompt_keys, states.prompt_values = (
        part[:, : max(line) + 1] for part in (states.prompt_keys, states.prompt_values)
    )
    query = torch.randn(2, 5, 3, 8)
    ours = attend(query, states, groups=grouped(lines, going), mask=mask, scaling=0.5)
    expected = slow_attention(query, states, lines, mask)
    torch.testing.assert_close(ours[:, going], expected[:, going], rtol=1e-5, atol=1e-5)


def test_rows_of_full_lines_in_order_are_not_moved() -> None:
    everyone = torch.ones(6, dtype=torch.bool)
    whole: Groups = grouped(torch.tensor([0, 0, 0, 1, 1, 1]), everyone)
    assert whole.in_order
    assert not grouped(torch.tensor([0, 1, 0, 1, 0, 1]), everyone).in_order
    assert not grouped(torch.tensor([0, 0, 0, 0, 1, 1]), everyone).in_order
