"""What a base model makes of held-out text: nats per token and byte, and a few samples to read."""

import math
from collections.abc import Sequence

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

PROMPTS = ("Once upon a time", "Write a story about a dog who is afraid of rain, with a happy ending.\n\n", "Tom had a")


@torch.inference_mode()
def measure(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> dict[str, float]:
    """Nats per token and per byte of held-out documents, each read alone after <|endoftext|>, cut at the context."""
    nats = tokens = size = 0.0
    longest = model.config.max_position_embeddings - 1
    for text in texts:
        ids = tokenizer(text, truncation=True, max_length=longest)["input_ids"]
        row = torch.tensor([[tokenizer.bos_token_id, *ids]])
        loss = model(input_ids=row, labels=row).loss.item()
        nats += loss * len(ids)
        tokens += len(ids)
        size += len(tokenizer.decode(ids).encode())
    return {"nats_per_token": nats / tokens, "nats_per_byte": nats / size, "perplexity": math.exp(nats / tokens)}


@torch.inference_mode()
def write_samples(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, *, tokens: int = 220) -> list[str]:
    samples = []
    for prompt in PROMPTS:
        ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer(prompt)["input_ids"]]])
        longest = min(ids.shape[1] + tokens, model.config.max_position_embeddings)
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_length=longest, do_sample=True, temperature=0.7, top_p=0.95
        )
        samples.append(tokenizer.decode(out[0], skip_special_tokens=True))
    return samples
