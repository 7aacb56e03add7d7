"""What both sides of the PPO benchmark are given: the same model folders and the same prompts."""

import math
import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

EOS, PAD, VOCABULARY = 0, 1, 4096
PROMPT, COMPLETION, EPISODES, MINIBATCH = 64, 48, 64, 16
CONSTANT = 0.3  # what one dimension of every hidden state holds, so that a row of the head can act as a bias


def word_tokenizer() -> PreTrainedTokenizerFast:
    """A word for each token, so that prompts have exactly the length they are meant to have."""
    words = {f"w{number}": number for number in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w2"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="w0", pad_token="w1")  # noqa: S106
    made.padding_side = "left"  # as TRL asks for
    made.chat_template = "{{ messages[-1]['content'] }}"
    return made


def write_models(folder: Path, *, ends: float) -> None:
    """`policy` and `reward` (4 layers x 256, 4.2 M parameters), random; a completion ends at each token with chance
    `ends`, 0 being never."""
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=256, intermediate_size=688, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=256, tie_word_embeddings=True, bos_token_id=EOS,
        eos_token_id=EOS, pad_token_id=PAD, num_labels=1,
    )  # fmt: skip
    for name, seed in (("policy", 1), ("reward", 2)):
        torch.manual_seed(seed)
        policy = LlamaForCausalLM(config) if name == "policy" else LlamaForSequenceClassification(config)
        if name == "policy":
            weigh_end(policy, ends)
        policy.save_pretrained(folder / name)
        word_tokenizer().save_pretrained(folder / name)


@torch.no_grad()
def weigh_end(policy: LlamaForCausalLM, ends: float) -> None:
    """Set the end token's chance through a dimension that no layer writes to."""
    embedding = policy.get_input_embeddings().weight
    embedding[:, 0] = CONSTANT
    for layer in policy.model.layers:
        layer.self_attn.o_proj.weight[0] = layer.mlp.down_proj.weight[0] = 0.0
    seen = policy.model(torch.randint(2, VOCABULARY, (4, PROMPT))).last_hidden_state[..., 0].mean()
    wanted = math.log(ends / (1 - ends) * VOCABULARY) if ends else -40.0
    embedding[EOS] = 0.0
    embedding[EOS, 0] = CONSTANT + wanted / float(seen)


def token_prompts(count: int, *, ragged: bool, seed: int = 3) -> list[list[int]]:
    rng = random.Random(seed)
    lengths = [rng.randint(PROMPT // 4, PROMPT) if ragged else PROMPT for _ in range(count)]
    return [[rng.randrange(2, VOCABULARY) for _ in range(length)] for length in lengths]
