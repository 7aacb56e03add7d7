"""Tiny random models, their tokenizer, and examples for them: what the training tests run on."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedConfig, PreTrainedTokenizerFast

from app.datasets.examples import Demonstration, Messages, Ranking

WORDS = ["dog", "cat", "sun", "boat", "ball", "girl", "boy", "tree", "bird", "fish", "rain", "cake"]
CONTEXT = 128


def tiny_tokenizer(*, pad: str | None = "<|pad|>") -> PreTrainedTokenizerFast:
    """A byte-level BPE of about 320 tokens, trained on the words that the examples use."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>"] + ([pad] if pad else [])
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=letters, show_progress=False)
    texts = [f"User: Write a story about a {w}.\n\nAssistant: Once there was a {w}. The end." for w in WORDS]
    tokenizer.train_from_iterator(texts, trainer)
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=end, eos_token=end, pad_token=pad)


def tiny_config(**changes: object) -> LlamaConfig:
    settings: dict[str, object] = {
        "vocab_size": 320,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": True,
        "initializer_range": 0.1,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 1,
    }
    return LlamaConfig(**{**settings, **changes})


def save_base(folder: Path, config: PreTrainedConfig | None = None, *, seed: int = 0) -> Path:
    """A base model's folder with random weights."""
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config or tiny_config()).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def ask(word: str) -> Messages:
    return [{"role": "user", "content": f"Write a story about a {word}."}]


def demonstrations(n: int, *, valid: int = 0) -> list[Demonstration]:
    """n demonstrations of ragged lengths, the first `valid` of them held out."""
    return [
        Demonstration(
            id=str(i),
            messages=ask(WORDS[i % len(WORDS)]),
            completion=f"Once there was a {WORDS[i % len(WORDS)]}." + " The end." * (i % 4),
            split="valid" if i < valid else "train",
        )
        for i in range(n)
    ]


def ranking(number: int, completions: Sequence[str], ranks: Sequence[int], **changes: str) -> Ranking:
    fields = {"id": str(number), "prompt_id": str(number), "split": "train", "labeler": "ann", "group": "g"} | changes
    return Ranking(messages=ask(WORDS[number % len(WORDS)]), completions=list(completions), ranks=list(ranks), **fields)


def rankings(n: int, *, k: int = 4, valid: int = 0) -> list[Ranking]:
    """n rankings of k ragged completions: the more the word is said, the better; equal counts are ties."""
    made = []
    for i in range(n):
        counts = [(i * 7 + j * j * 3) % 5 for j in range(k)]
        texts = [f"Tale {j}." + f" The {WORDS[(i + j) % len(WORDS)]} ran." * count for j, count in enumerate(counts)]
        ranks = [1 + sum(other > count for other in counts) for count in counts]
        made.append(ranking(i, texts, ranks, split="valid" if i < valid else "train"))
    return made
