"""Attention of one token a row: what PyTorch's own computes, for every architecture that it is used for."""

import pytest
import torch
from transformers import LlamaConfig, PreTrainedConfig

from tests.workers.architectures import PACKED, SHAPE, WINDOWED, of_architecture
from tests.workers.training.plain_pass import require_own_logprobs
from workers.training import decoding_attention
from workers.training.loop import CannotTrain
from workers.training.rollout import Decoding, draw_completions

pytestmark = pytest.mark.train


@pytest.mark.parametrize("config", PACKED + WINDOWED, ids=lambda config: config.model_type)
def test_completions_have_the_log_probabilities_of_a_plain_pass(config: PreTrainedConfig) -> None:
    model = of_architecture(config)
    prompts = [[5], [7, 3], [9, 4, 30, 6, 8]]
    uniforms = torch.rand(3, 2, 12, generator=torch.Generator().manual_seed(1))
    drawn = draw_completions(model, prompts, uniforms, decoding=Decoding(max_new_tokens=12, eos_ids=frozenset()))
    require_own_logprobs(model, prompts, drawn)


def test_layers_of_another_attention_are_refused_in_words() -> None:
    model = of_architecture(LlamaConfig(**SHAPE, layer_types=["full_attention", "chunked_attention"]))
    with pytest.raises(CannotTrain, match="cannot be drawn from a llama with chunked_attention"):
        draw_completions(model, [[5]], torch.rand(1, 1, 2), decoding=Decoding(max_new_tokens=2, eos_ids=frozenset()))


def test_it_is_used_for_single_tokens_and_left_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    model, plain = of_architecture(PACKED[-1]), []
    was = model.config._attn_implementation

    def counted(*args: object, **options: object) -> object:
        plain.append(args[1].shape[2])
        return sdpa(*args, **options)

    sdpa = decoding_attention.sdpa_attention_forward
    monkeypatch.setattr(decoding_attention, "sdpa_attention_forward", counted)
    uniforms = torch.rand(1, 2, 5, generator=torch.Generator().manual_seed(1))
    draw_completions(model, [[5, 6, 7, 8]], uniforms, decoding=Decoding(max_new_tokens=5, eos_ids=frozenset()))
    assert plain == [3] * model.config.num_hidden_layers  # the prompt alone went the usual way
    assert model.config._attn_implementation == was
