"""Samples K completions a prompt, to be ranked. Killed and started again, it goes on where it was, to the same result.

    sampling.sample(SamplingConfig(completions_per_prompt=4), prompts, on_step, model=folder, checkpoints=folder)

The completions of a prompt depend on the seed and the prompt's id alone. Prompts are taken in chunks of like
length; each finished chunk is one line of `completions.jsonl`, flushed to the disk; reported, it gets its end.

With a reward model every completion that is drawn is scored, and with `best_of` n above 1 each one that is kept is the
best of n drawn for its place (Stiennon et al. 2020, appendix G.3): no two places share what was drawn for them.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from app.datasets.examples import Messages, Prompt, PromptPrefix
from app.runs.configs import SamplingConfig
from workers.rlhf.best_of_n import expected_best, kl_bound, powers_up_to
from workers.training.batching import decode_completion, encode_after_prefix, encode_prompt
from workers.training.checkpoints import tell
from workers.training.judge import Judge, load_judge
from workers.training.loop import CannotTrain, OnStep, Signal, Step
from workers.training.models import context_of, load_policy, load_tokenizer
from workers.training.pieces import appending, read_pieces
from workers.training.rollout import Decoding, Drawn, draw_completions, stop_ids, uniform_numbers

FILE = "completions.jsonl"
CHUNK_BATCHES = 4  # completions in a chunk, in batches: while prompts wait, rows that have ended are used again


@dataclass(frozen=True, slots=True)
class SampledCompletion:
    """One completion of a prompt, `index` 0 to K-1."""

    prompt_id: str
    index: int
    text: str
    tokens: int  # its end token counted
    finish_reason: Literal["stop", "separator", "length"]  # its end token, the prefix's separator, or the limit
    mean_logprob: float  # nats a token at the sampling temperature
    rewards: list[float] | None = None  # of all that were drawn for its place; it is the first of the highest


@dataclass(frozen=True, slots=True)
class Encoded:
    id: str
    tokens: list[int]
    messages: Messages


def sample(
    config: SamplingConfig,
    prompts: list[Prompt],
    on_step: OnStep,
    *,
    model: Path,
    checkpoints: Path,
    reward_model: Path | None = None,
    prefix: PromptPrefix | None = None,
) -> list[SampledCompletion]:
    """Return K completions of each of the first `config.prompts` prompts, in the prompts' order.

    With `prefix` the model reads it before each prompt, and what it writes ends before the prefix's separator.
    Prompts longer than `max_prompt_tokens`, the prefix counted, are left out. When `on_step` answers STOP, what is
    done is returned and kept; calling again with the same arguments does the rest.
    """
    if config.best_of > 1 and reward_model is None:
        raise CannotTrain(f"best_of is {config.best_of}, but there is no reward model to choose by. Give one.")
    if config.threads:
        torch.set_num_threads(config.threads)
    tokenizer, policy = load_tokenizer(model), load_policy(model)
    chosen, context = prompts[: config.prompts], context_of(policy.config)
    encoded = encode_prompts(config, chosen, tokenizer, context=context, prefix=prefix)
    judge = load_judge(reward_model) if reward_model else None
    if judge:
        asked = [prompt.messages for prompt in encoded]
        judge.check_room(asked, max_completion_tokens=config.max_completion_tokens)
    size = max(1, CHUNK_BATCHES * config.batch_size // (config.completions_per_prompt * config.best_of))
    by_length = sorted(encoded, key=lambda prompt: len(prompt.tokens))
    chunks = [by_length[start : start + size] for start in range(0, len(by_length), size)]
    separator = prefix.separator if prefix else ""
    finished = read_pieces(checkpoints / FILE, mark=fingerprint(config, encoded, model, reward_model, separator))
    done = [[SampledCompletion(**completion) for completion in piece] for piece in finished]
    for number, chunk in enumerate(chunks[len(done) :], start=len(done) + 1):
        started = time.perf_counter()
        completions = sample_chunk(config, chunk, policy, tokenizer, judge, separator=separator)
        metrics = chunk_metrics(completions, seconds=time.perf_counter() - started)
        metrics["left_out"] = float(len(chosen) - len(encoded))
        step = Step(number, len(chunks), metrics)
        signal = tell(
            on_step, step, partial(appending, checkpoints / FILE, [asdict(each) for each in completions]), due=True
        )
        done.append(completions)
        if signal is Signal.STOP:
            break
    place = {prompt.id: i for i, prompt in enumerate(encoded)}
    flat = [completion for chunk in done for completion in chunk]
    return sorted(flat, key=lambda completion: (place[completion.prompt_id], completion.index))


def encode_prompts(
    config: SamplingConfig,
    prompts: Sequence[Prompt],
    tokenizer: PreTrainedTokenizerBase,
    *,
    context: int,
    prefix: PromptPrefix | None = None,
) -> list[Encoded]:
    if not prompts:
        raise CannotTrain("There are no prompts to sample completions for.")
    encode = partial(encode_after_prefix, tokenizer, prefix) if prefix else partial(encode_prompt, tokenizer)
    encoded = [Encoded(prompt.id, encode(prompt.messages), prompt.messages) for prompt in prompts]
    kept = [prompt for prompt in encoded if len(prompt.tokens) <= config.max_prompt_tokens]
    if not kept:
        shortest, counted = min(len(prompt.tokens) for prompt in encoded), ", the prefix counted," if prefix else ""
        raise CannotTrain(
            f"All {len(prompts)} prompts are longer than max_prompt_tokens = {config.max_prompt_tokens} tokens; the "
            f"shortest{counted} has {shortest}."
        )
    longest = max(len(prompt.tokens) for prompt in kept)
    if longest + config.max_completion_tokens > context:
        raise CannotTrain(
            f"The model reads {context} tokens at most, but the longest prompt has {longest} and max_completion_tokens "
            f"is {config.max_completion_tokens}. Lower max_completion_tokens or max_prompt_tokens."
        )
    return kept


def sample_chunk(
    config: SamplingConfig,
    chunk: Sequence[Encoded],
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    judge: Judge | None,
    *,
    separator: str = "",
) -> list[SampledCompletion]:
    """K completions of each prompt of the chunk, each the best of those drawn for its place."""
    drawn = draw(config, chunk, policy, tokenizer, separator=separator)
    completion = partial(as_completion, tokenizer=tokenizer, separator=separator)
    return [
        best
        for prompt, of_prompt in zip(chunk, drawn, strict=True)
        for best in choose(config, prompt, [completion(prompt.id, 0, each) for each in of_prompt], judge)
    ]


def choose(
    config: SamplingConfig, prompt: Encoded, drawn: Sequence[SampledCompletion], judge: Judge | None
) -> list[SampledCompletion]:
    """`best_of` consecutive completions stand for one place: the one of the highest reward gets it."""
    rewards = judge.rewards(prompt.messages, [each.text for each in drawn], cut=True) if judge else None
    kept = []
    for index in range(config.completions_per_prompt):
        place = range(index * config.best_of, (index + 1) * config.best_of)
        own = [rewards[i] for i in place] if rewards else None
        best = max(place, key=rewards.__getitem__) if rewards else place[0]
        kept.append(replace(drawn[best], index=index, rewards=own))
    return kept


def draw(
    config: SamplingConfig,
    chunk: Sequence[Encoded],
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    separator: str = "",
) -> list[list[Drawn]]:
    """Everything that is drawn for each prompt of the chunk: completions_per_prompt x best_of of them."""
    # Every sampling parameter is given here; the model's own generation settings have no say.
    decoding = Decoding(
        max_new_tokens=config.max_completion_tokens,
        eos_ids=stop_ids(policy, tokenizer),
        temperature=config.temperature,
        top_p=config.top_p,
        rows=config.batch_size,
        is_over=partial(has_separator, tokenizer, separator) if separator else None,
    )
    count = config.completions_per_prompt * config.best_of
    together = side_by_side(count, config.batch_size)
    shape = (count // together, together, config.max_completion_tokens)
    uniforms = torch.cat([uniform_numbers(config.seed, prompt.id, shape=shape) for prompt in chunk])
    prompts = [prompt.tokens for prompt in chunk for _ in range(shape[0])]
    drawn = draw_completions(policy, prompts, uniforms, decoding=decoding)
    return [
        [each for group in drawn[first : first + shape[0]] for each in group]
        for first in range(0, len(drawn), shape[0])
    ]


def side_by_side(count: int, batch_size: int) -> int:
    """How many of a prompt's completions share its keys and values: as many as divide them all and fit the batch."""
    return max(size for size in range(1, min(count, batch_size) + 1) if count % size == 0)


def has_separator(tokenizer: PreTrainedTokenizerBase, separator: str, tokens: list[int]) -> bool:
    """Whether the separator stands at the end of what was written: a character takes up to four tokens."""
    return separator in tokenizer.decode(tokens[-(4 * len(separator) + 8) :], skip_special_tokens=True)


def as_completion(
    prompt_id: str, index: int, drawn: Drawn, tokenizer: PreTrainedTokenizerBase, separator: str = ""
) -> SampledCompletion:
    text = decode_completion(tokenizer, drawn.tokens)
    if drawn.cut:  # what comes before it; the blanks that the separator may begin with are gone from an empty text
        text = tokenizer.decode(drawn.tokens, skip_special_tokens=True).partition(separator)[0].strip()
    return SampledCompletion(
        prompt_id=prompt_id,
        index=index,
        text=text,
        tokens=len(drawn.tokens),
        finish_reason="stop" if drawn.ended else "separator" if drawn.cut else "length",
        mean_logprob=sum(drawn.logprobs) / len(drawn.logprobs),
    )


def chunk_metrics(completions: Sequence[SampledCompletion], *, seconds: float) -> dict[str, float]:
    tokens = sum(completion.tokens for completion in completions)
    ended = sum(completion.finish_reason == "stop" for completion in completions)
    return {
        "length": tokens / len(completions),
        "eos_share": ended / len(completions),
        "mean_logprob": sum(completion.mean_logprob for completion in completions) / len(completions),
        "tokens_per_second": tokens / seconds,
    } | reward_metrics(completions)


def reward_metrics(completions: Sequence[SampledCompletion]) -> dict[str, float]:
    """The mean reward of all that was drawn and of what was kept; nothing without a reward model."""
    places = [completion.rewards for completion in completions if completion.rewards]
    if not places:
        return {}
    drawn = [reward for place in places for reward in place]
    means = {"reward": sum(drawn) / len(drawn), "reward_kept": sum(map(max, places)) / len(places)}
    return means if len(drawn) > len(places) else {"reward": means["reward"]}


def best_of_curve(completions: Sequence[SampledCompletion]) -> list[tuple[int, float, float]]:
    """(n, expected reward of the best of n, KL at most) for n = 1, 2, 4, ..., from all draws of each prompt."""
    by_prompt: dict[str, list[float]] = {}
    for completion in completions:
        by_prompt.setdefault(completion.prompt_id, []).extend(completion.rewards or [])
    draws = min(map(len, by_prompt.values()), default=0)
    return [
        (n, sum(expected_best(rewards, n) for rewards in by_prompt.values()) / len(by_prompt), kl_bound(n))
        for n in (powers_up_to(draws) if draws else [])
    ]


def fingerprint(
    config: SamplingConfig, encoded: Sequence[Encoded], model: Path, reward_model: Path | None, separator: str = ""
) -> str:
    """What the finished chunks were made from; threads change no result that matters here."""
    settings = config.model_dump_json(exclude={"threads"})
    tokens = [[prompt.id, prompt.tokens] for prompt in encoded]
    made_from = [settings, tokens, str(model), str(reward_model), *([separator] if separator else [])]
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()
