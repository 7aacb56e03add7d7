"""Tiny models of the architectures whose attention we take over, and of some whose we do not."""

import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)  # fmt: skip

from tests.workers.tiny import CONTEXT

SHAPE = {
    "vocab_size": 320, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": CONTEXT, "initializer_range": 0.1,
    "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1,
}  # fmt: skip
GPT2_SHAPE = {"vocab_size": 320, "n_positions": CONTEXT, "n_embd": 32, "n_layer": 2, "n_head": 4}
PACKED = [
    LlamaConfig(**SHAPE), MistralConfig(**SHAPE, sliding_window=None), Qwen2Config(**SHAPE), Qwen3Config(**SHAPE),
    SmolLM3Config(**SHAPE), GPTNeoXConfig(**SHAPE), GPT2Config(**GPT2_SHAPE, initializer_range=0.1),
]  # fmt: skip
PADDED = [BloomConfig(vocab_size=320, hidden_size=32, n_layer=2, n_head=4), MistralConfig(**SHAPE, sliding_window=8)]

# Their windows are shorter than the texts; the second and third have layers of full attention too.
WINDOWED = [
    MistralConfig(**SHAPE, sliding_window=4),
    Qwen2Config(**SHAPE, sliding_window=4, use_sliding_window=True, max_window_layers=1),
    Gemma3TextConfig(**SHAPE, sliding_window=4, layer_types=["sliding_attention", "full_attention"]),
]


def of_architecture(config: PreTrainedConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()
