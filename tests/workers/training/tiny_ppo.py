"""Tiny real models for the PPO and sampling tests: a byte-level Llama, and a reward model that counts letters."""

import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

from app.datasets.examples import Prompt, Text
from app.runs.ppo_config import PpoConfig
from workers.training.loop import Signal, Step
from workers.training.ppo_experience import Experience, as_experience, draw_by_all
from workers.training.ppo_networks import Networks
from workers.training.rollout import Decoding

CONTEXT = 96
EOS, PAD = "<|end|>", "<|pad|>"


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([EOS, PAD, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=EOS, bos_token=EOS, pad_token=PAD)


def write_letterless_template(folder: Path) -> Path:
    """Makes prompts of digits hold no letter at all, so that a count of letters counts the completion's."""
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ messages[-1]['content'] }}:"
    tokenizer.save_pretrained(folder)
    return folder


def tiny_config(**changes: Any) -> LlamaConfig:
    settings = {
        "vocab_size": len(tiny_tokenizer()), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": CONTEXT,
        "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1, "tie_word_embeddings": True,
        "attention_dropout": 0.1,  # must never take effect here
    }  # fmt: skip
    return LlamaConfig(**(settings | changes))


def write_policy(folder: Path, *, seed: int = 0, **changes: Any) -> Path:
    """A policy with random weights, wide enough apart that its distributions are far from uniform."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(tiny_config(initializer_range=0.2, **changes))
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def write_reward_model(folder: Path, *, seed: int = 1, bias: float = 0.5) -> Path:
    torch.manual_seed(seed)
    model = LlamaForSequenceClassification(tiny_config(initializer_range=0.2, num_labels=1))
    model.config.reward_bias = bias
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def write_letter_counter(folder: Path, *, scale: float = 4.0) -> Path:
    """A reward model whose score grows with the share of lowercase letters among the tokens read, and nothing else.

    One layer: equal attention to all tokens carries the share of letters into a dimension that only the head reads.
    """
    tokenizer = tiny_tokenizer()
    config = tiny_config(num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1, num_labels=1)
    model = LlamaForSequenceClassification(config)
    letters = tokenizer.convert_tokens_to_ids(list(string.ascii_lowercase))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for module in model.modules():
            if type(module).__name__ == "LlamaRMSNorm":
                module.weight.fill_(1.0)
        embedding, layer = model.model.embed_tokens.weight, model.model.layers[0].self_attn
        embedding[:, 2] = 1.0
        embedding[letters, 2] = 0.0
        embedding[letters, 0] = 1.0
        layer.v_proj.weight[0, 0] = layer.o_proj.weight[1, 0] = 0.3
        model.score.weight[0, 1] = scale
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def prompts(n: int = 12, *, valid: int = 2) -> list[Prompt]:
    words = ["dog", "a cat", "the rain", "bird and boat", "x", "two fish"]
    return [
        Prompt(
            f"p{i}", [{"role": "user", "content": f"{words[i % len(words)]} {i}"}], "valid" if i < valid else "train"
        )
        for i in range(n)
    ]


def texts(n: int = 6) -> list[Text]:
    return [
        Text(f"Once upon a time number {i}, it rained. " * (1 + i % 3), "valid" if i < 2 else "train") for i in range(n)
    ]


def ppo_config(**changes: Any) -> PpoConfig:
    settings = {
        "episodes": 32, "batch_size": 8, "minibatch_size": 4, "micro_batch_size": 4, "learning_rate": 1e-3,
        "value_learning_rate": 1e-3, "warmup_iterations": 2, "ptx_coefficient": 2.0, "ptx_ratio": 1, "ptx_tokens": 24,
        "max_prompt_tokens": 60, "max_completion_tokens": 10, "ema": 0.9, "threads": 1, "checkpoint_every": 2,
        "evaluate_every": 2, "evaluation_prompts": 2, "kl_coefficient": 0.1,
    }  # fmt: skip
    return PpoConfig(**(settings | changes))


class Steps(list[Step]):
    """Collects the steps that a trainer reports; says STOP after number `stop_after`, if given."""

    def __init__(self, *, stop_after: int | None = None) -> None:
        super().__init__()
        self.stop_after = stop_after

    def __call__(self, step: Step) -> Signal:
        self.append(step)
        return Signal.STOP if step.number == self.stop_after else Signal.CONTINUE


def token_prompts(lengths: Sequence[int], *, seed: int = 0) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(2, 258, (n,), generator=generator).tolist() for n in lengths]


def collect(
    networks: Networks, prompts: list[list[int]], uniforms: torch.Tensor, *, config: PpoConfig, decoding: Decoding,
    **how: Any,
) -> Experience:  # fmt: skip
    """One episode for each prompt, drawn and measured; `uniforms` (N, 1, max_new_tokens) decide what is drawn."""
    drawn = draw_by_all(networks.policy, prompts, uniforms, config=config, decoding=decoding)
    return as_experience(networks, prompts, drawn, [0] * len(drawn), config=config, **how)
