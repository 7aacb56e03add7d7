"""The small Llama-style base model: its shape, its optimizers, its batches, and the folder it is written to."""

from pathlib import Path

import torch
from torch import Tensor
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from workers.training.muon import Muon

IGNORED = -100  # a label without loss


def build_model(*, layers: int, width: int, heads: int, vocabulary: int, context: int) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=width * 8 // 3 // 16 * 16 + 16,  # near 8/3 of the width, as SwiGLU wants,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 2),
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
        rms_norm_eps=1e-5,
    )
    model = LlamaForCausalLM(config)
    for layer in model.model.layers:  # every layer starts as the identity
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
        torch.nn.init.zeros_(layer.mlp.down_proj.weight)
    return model


def build_optimizers(model: LlamaForCausalLM, *, matrix_rate: float, other_rate: float) -> list[torch.optim.Optimizer]:
    inside = [p for p in model.model.layers.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if all(p is not matrix for matrix in inside)]
    return [
        Muon(inside, lr=matrix_rate, weight_decay=0.05),
        torch.optim.AdamW(others, lr=other_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def as_tensors(rows: list[list[int]], *, pad: int) -> tuple[Tensor, Tensor]:
    """Rows padded to the longest: input_ids and labels, both (B, T); padding has no loss."""
    longest = max(map(len, rows))
    input_ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
    return input_ids, input_ids.masked_fill(input_ids == pad, IGNORED)


def export(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """An ordinary folder in bfloat16 that AutoModelForCausalLM and AutoTokenizer load."""
    copy = LlamaForCausalLM(model.config)
    copy.load_state_dict(model.state_dict())
    copy.to(torch.bfloat16)
    copy.generation_config = GenerationConfig(bos_token_id=0, eos_token_id=0, pad_token_id=1, do_sample=True)
    copy.save_pretrained(out)
    tokenizer.save_pretrained(out)
