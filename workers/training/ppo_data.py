"""What PPO reads: encoded prompts, prompts to look at, plain texts; and what it refuses before it starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from app.datasets.examples import Prompt, Text
from app.runs.ppo_config import PpoConfig
from workers.training.batching import encode_prompt
from workers.training.limits import refuse_if_most_left_out, require_room
from workers.training.loop import CannotTrain
from workers.training.models import context_of
from workers.training.ppo_networks import Networks

TEXTS_LOOKED_AT = 32


@dataclass(frozen=True, slots=True)
class LookedAt:
    """A prompt whose completion is shown and scored, again and again."""

    text: str
    tokens: list[int]


@dataclass(frozen=True, slots=True)
class Data:
    prompts: list[list[int]]
    looked_at: list[LookedAt]
    held_out: bool  # whether those are validation prompts
    texts: list[str]
    valid_texts: list[str]
    left_out: int
    tokenizer: PreTrainedTokenizerBase


def prepare(
    config: PpoConfig,
    prompts: Sequence[Prompt],
    texts: Sequence[Text],
    tokenizer: PreTrainedTokenizerBase,
    networks: Networks,
) -> Data:
    """Encode prompts and texts; leave out and count prompts that are too long; refuse what cannot train."""
    if not any(prompt.split == "train" for prompt in prompts):
        raise CannotTrain("There are no prompts in the train split. Write some, or import them, first.")
    refuse_too_short_a_context(config, networks)
    used = [prompt for prompt in prompts if prompt.split in ("train", "valid")]
    encoded = [encode_prompt(tokenizer, prompt.messages) for prompt in used]
    kept = [(p, ids) for p, ids in zip(used, encoded, strict=True) if len(ids) <= config.max_prompt_tokens]
    lengths = [(len(ids), config.max_completion_tokens) for ids in encoded]
    refuse_if_most_left_out(
        config, lengths, len(used) - len(kept), what="prompts", context=context_of(networks.policy.config)
    )
    train = [(p, ids) for p, ids in kept if p.split == "train"]
    if not train:
        raise CannotTrain("Every prompt of the train split is longer than max_prompt_tokens.")
    valid = [(p, ids) for p, ids in kept if p.split == "valid"]
    if config.keep == "best" and not valid:
        raise CannotTrain(
            'There are no validation prompts to find the best policy by. Add some, or set keep to "last".'
        )
    return Data(
        prompts=[ids for _, ids in train],
        looked_at=[
            LookedAt(p.messages[-1]["content"], ids) for p, ids in (valid or train)[: config.evaluation_prompts]
        ],
        held_out=bool(valid),
        texts=train_texts(config, texts),
        valid_texts=[text.text for text in texts if text.split == "valid" and text.text.strip()][:TEXTS_LOOKED_AT],
        left_out=len(used) - len(kept),
        tokenizer=tokenizer,
    )


def refuse_too_short_a_context(config: PpoConfig, networks: Networks) -> None:
    judges = [networks.value, *networks.others, *([networks.watch] if networks.watch else [])]
    bodies = [networks.policy, *(judge.body for judge in judges)]
    require_room(config, min(context_of(body.config) for body in bodies))
    context = context_of(networks.policy.config)
    if config.ptx_coefficient and config.ptx_tokens > context:
        raise CannotTrain(f"ptx_tokens is {config.ptx_tokens}, but the policy reads {context} tokens at most.")


def train_texts(config: PpoConfig, texts: Sequence[Text]) -> list[str]:
    plain = [text.text for text in texts if text.split == "train" and text.text.strip()]
    if config.ptx_coefficient and not plain:
        raise CannotTrain(
            "ptx_coefficient is above 0 but there is no plain text. Give some, or set it to 0 for plain PPO."
        )
    return plain


def refuse_other_tokenizer(own: PreTrainedTokenizerBase, others: PreTrainedTokenizerBase, path: Path) -> None:
    """Scores are taken of the policy's very tokens, so both models must mean the same by each."""
    if own.get_vocab() == others.get_vocab() and own.eos_token_id == others.eos_token_id:
        return
    raise CannotTrain(
        f"The policy and the reward model {path.name} do not share their tokenizer "
        f"({len(own)} and {len(others)} tokens). "
        "Train the reward model from the same base as the policy."
    )


def visits(n: int, first: int, count: int, *, seed: int) -> list[int]:
    """Which of n prompts episodes `first`, `first` + 1, ... play: each pass takes every prompt once, shuffled anew."""
    chosen: list[int] = []
    for number in range(first // n, (first + count - 1) // n + 1):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        chosen += torch.randperm(n, generator=generator).tolist()
    return chosen[first % n : first % n + count]
