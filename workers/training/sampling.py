"""Samples K completions a prompt, to be ranked. Killed and started again, it goes on where it was, to the same result.

    sampling.sample(SamplingConfig(completions_per_prompt=4), prompts, on_step, model=folder, checkpoints=folder)

The completions of a prompt depend on the seed and the prompt's id alone. Prompts are taken in chunks of like
length; each finished chunk is one line of `completions.jsonl`, flushed to the disk before it is reported.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from app.datasets.examples import Prompt
from app.runs.configs import SamplingConfig
from workers.training.batching import decode_completion, encode_prompt
from workers.training.loop import CannotTrain, OnStep, Signal, Step
from workers.training.models import context_of, load_policy, load_tokenizer
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
    finish_reason: Literal["stop", "length"]
    mean_logprob: float  # nats a token at the sampling temperature


@dataclass(frozen=True, slots=True)
class Encoded:
    id: str
    tokens: list[int]


def sample(
    config: SamplingConfig, prompts: list[Prompt], on_step: OnStep, *, model: Path, checkpoints: Path
) -> list[SampledCompletion]:
    """Return K completions of each of the first `config.prompts` prompts, in the prompts' order.

    Prompts longer than `max_prompt_tokens` are left out. When `on_step` answers STOP, what is done is returned
    and kept; calling again with the same arguments does the rest.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    tokenizer, policy = load_tokenizer(model), load_policy(model)
    encoded = encode_prompts(config, prompts[: config.prompts], tokenizer, context=context_of(policy.config))
    size = max(1, CHUNK_BATCHES * config.batch_size // config.completions_per_prompt)
    by_length = sorted(encoded, key=lambda prompt: len(prompt.tokens))
    chunks = [by_length[start : start + size] for start in range(0, len(by_length), size)]
    done = read_chunks(checkpoints / FILE, mark=fingerprint(config, encoded, model))
    for number, chunk in enumerate(chunks[len(done) :], start=len(done) + 1):
        started = time.perf_counter()
        completions = sample_chunk(config, chunk, policy, tokenizer)
        append_line(checkpoints / FILE, [asdict(completion) for completion in completions])
        done.append(completions)
        metrics = chunk_metrics(completions, seconds=time.perf_counter() - started)
        metrics["left_out"] = float(len(prompts[: config.prompts]) - len(encoded))
        if on_step(Step(number, len(chunks), metrics, checkpointed=True)) is Signal.STOP:
            break
    place = {prompt.id: i for i, prompt in enumerate(encoded)}
    flat = [completion for chunk in done for completion in chunk]
    return sorted(flat, key=lambda completion: (place[completion.prompt_id], completion.index))


def encode_prompts(
    config: SamplingConfig, prompts: Sequence[Prompt], tokenizer: PreTrainedTokenizerBase, *, context: int
) -> list[Encoded]:
    if not prompts:
        raise CannotTrain("There are no prompts to sample completions for.")
    encoded = [Encoded(prompt.id, encode_prompt(tokenizer, prompt.messages)) for prompt in prompts]
    kept = [prompt for prompt in encoded if len(prompt.tokens) <= config.max_prompt_tokens]
    if not kept:
        raise CannotTrain(
            f"All {len(prompts)} prompts are longer than max_prompt_tokens = {config.max_prompt_tokens} tokens."
        )
    longest = max(len(prompt.tokens) for prompt in kept)
    if longest + config.max_completion_tokens > context:
        raise CannotTrain(
            f"The model reads {context} tokens at most, but the longest prompt has {longest} and max_completion_tokens "
            f"is {config.max_completion_tokens}. Lower max_completion_tokens or max_prompt_tokens."
        )
    return kept


def sample_chunk(
    config: SamplingConfig, chunk: Sequence[Encoded], policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> list[SampledCompletion]:
    # Every sampling parameter is given here; the model's own generation settings have no say.
    decoding = Decoding(
        max_new_tokens=config.max_completion_tokens,
        eos_ids=stop_ids(policy, tokenizer),
        temperature=config.temperature,
        top_p=config.top_p,
        rows=max(config.batch_size, config.completions_per_prompt),
    )
    shape = (config.completions_per_prompt, config.max_completion_tokens)
    uniforms = torch.stack([uniform_numbers(config.seed, prompt.id, shape=shape) for prompt in chunk])
    drawn = draw_completions(policy, [prompt.tokens for prompt in chunk], uniforms, decoding=decoding)
    return [
        as_completion(prompt.id, index, completion, tokenizer)
        for prompt, completions in zip(chunk, drawn, strict=True)
        for index, completion in enumerate(completions)
    ]


def as_completion(prompt_id: str, index: int, drawn: Drawn, tokenizer: PreTrainedTokenizerBase) -> SampledCompletion:
    return SampledCompletion(
        prompt_id=prompt_id,
        index=index,
        text=decode_completion(tokenizer, drawn.tokens),
        tokens=len(drawn.tokens),
        finish_reason="stop" if drawn.ended else "length",
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
    }


def fingerprint(config: SamplingConfig, encoded: Sequence[Encoded], model: Path) -> str:
    """What the finished chunks were made from; threads change no result that matters here."""
    settings = config.model_dump_json(exclude={"threads"})
    tokens = [[prompt.id, prompt.tokens] for prompt in encoded]
    return hashlib.sha256(json.dumps([settings, tokens, str(model)]).encode()).hexdigest()


def read_chunks(file: Path, *, mark: str) -> list[list[SampledCompletion]]:
    """The chunks that an earlier start finished. A torn last line is cut off; another run's file is started anew."""
    lines = list(whole_lines(file))
    if not lines or lines[0] != mark:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
        append_line(file, mark)
        return []
    return [[SampledCompletion(**completion) for completion in chunk] for chunk in lines[1:]]


def whole_lines(file: Path) -> Iterator[object]:
    if not file.exists():
        return
    whole = 0
    for line in file.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            os.truncate(file, whole)
            return
        yield json.loads(line)
        whole += len(line)


def append_line(file: Path, content: object) -> None:
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(content) + "\n")
        out.flush()
        os.fsync(out.fileno())
