"""The playground's questions: one or two models write, their words go to the page as they come, and nothing is kept."""

import logging
import time
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import redis
import torch
from jinja2 import TemplateError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from app.core.db import reading
from app.core.storage import get_artefacts
from app.playground import line
from app.playground.line import Asked
from app.registry.models import Model, ModelState
from app.runs.needs import FROZEN
from workers.jobs.memory import bytes_free
from workers.jobs.pulse import Pulse
from workers.jobs.shelf import Shelf
from workers.jobs.told import Told
from workers.training.batching import decode_completion, encode_prompt
from workers.training.beside import Progress, Voice, draw_beside
from workers.training.judge import load_judge
from workers.training.loop import CannotTrain
from workers.training.models import context_of, load_policy, load_tokenizer
from workers.training.rollout import Decoding, stop_ids, uniform_numbers

logger = logging.getLogger(__name__)
BETWEEN_WORDS = 0.05  # seconds: what comes faster goes out together
HALF_A_SIGN = "\ufffd"  # what a tokenizer gives for bytes that are no whole character yet


@dataclass(slots=True)
class Writing:
    """A side that writes."""

    side: int
    name: str
    tokenizer: PreTrainedTokenizerBase
    voice: Voice
    is_cut_by_context: bool
    sent: str = ""  # of its text
    is_told: bool = False  # that it is done


def answer(ask_id: uuid.UUID, pulse: Pulse, shelf: Shelf) -> None:
    """Take the question and answer it. A duplicate, and one for whose answer nobody waits any more, does nothing."""
    try:
        with line.connected() as client:
            asked = line.take(client, ask_id, worker=pulse.name)
            if asked is not None:
                with shelf.in_use(), Told(client, ask_id, pulse) as told:
                    _answer(asked, told, shelf)
    except (line.LineAway, redis.RedisError) as error:
        logger.warning("question %s: its page can't be reached: %s", ask_id, error)


def _answer(asked: Asked, told: Told, shelf: Shelf) -> None:
    try:
        models = _models(asked)
        shelf.keep_only([model.storage_key for model in models.values() if model.storage_key])
        writings = [each for side in range(len(asked.names)) if (each := _start(asked, side, models, told, shelf))]
        _write(writings, told)
        if not told.stopped:
            _score(asked, writings, models, told, shelf)
        told.finish(told.stopped)
    except redis.RedisError:
        raise
    except Exception as error:  # the edge of a job: whatever broke, the page must say so
        logger.error("question %s failed", asked.id, exc_info=error)
        shelf.clear()
        told.finish(f"{_reason(error)} The worker's own output says more.", is_bad=True)


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return "The worker has not enough memory for these models."
    return f"{type(error).__name__}: {str(error)[:300]}."


def _models(asked: Asked) -> dict[uuid.UUID, Model]:
    """The rows that the question names, as they are now."""
    question = asked.question
    wanted = [*question.writers, *([question.judge] if question.judge else [])]
    with reading() as session:
        found = {id_: session.get(Model, id_) for id_ in wanted}
    return {id_: model for id_, model in found.items() if model is not None}


def _start(asked: Asked, side: int, models: dict[uuid.UUID, Model], told: Told, shelf: Shelf) -> Writing | None:
    """Load the side's model and read the prompt with its tokens; None: it can't answer, and the page says why."""
    if told.stopped:
        return None
    try:
        model_id = asked.question.writers[side]
        folder = _folder(models.get(model_id), asked.names[side])
        told.state(side, "loading", "is being loaded")
        tokenizer, policy = _load(models[model_id], folder, shelf)
        return _writing(asked, side, tokenizer, policy)
    except CannotTrain as problem:
        told.state(side, "failed", str(problem))
    except TemplateError as problem:
        told.state(side, "failed", f"Its chat template does not take these turns: {problem}.")
    return None


def _folder(model: Model | None, name: str) -> Path:
    if model is None or model.state != ModelState.ready or model.storage_key is None:
        raise CannotTrain(f"{name} was deleted meanwhile. Choose another model.")
    return get_artefacts().folder(model.storage_key)


def _load(model: Model, folder: Path, shelf: Shelf) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    key = str(model.storage_key)
    if key not in shelf:
        _refuse_too_large(model)
    return shelf.get(key, lambda: (load_tokenizer(folder), load_policy(folder)))


def _refuse_too_large(model: Model) -> None:
    needed, free = 2 * FROZEN * (model.parameters or 0), bytes_free()  # once more while its weights lie for decoding
    if free is not None and needed > free:
        raise CannotTrain(
            f"{model.name} needs about {needed / 2**30:.1f} GiB, and this worker has {free / 2**30:.1f} GiB free. "
            "Ask it alone, or start a worker on a larger machine."
        )


def _writing(asked: Asked, side: int, tokenizer: PreTrainedTokenizerBase, policy: PreTrainedModel) -> Writing:
    question, name = asked.question, asked.names[side]
    prompt = encode_prompt(tokenizer, [turn.model_dump() for turn in question.messages])
    room = context_of(policy.config) - len(prompt)
    if room < 1:
        raise CannotTrain(
            f"The prompt is too long: it is {len(prompt):,} tokens for {name}, which reads "
            f"{context_of(policy.config):,} at most, its answer among them. Shorten it by {1 - room:,} tokens or more."
        )
    length = min(question.max_new_tokens, room)
    decoding = Decoding(max_new_tokens=length, eos_ids=stop_ids(policy, tokenizer), temperature=question.temperature,
                        top_p=question.top_p, rows=1)  # fmt: skip
    is_same_twice = len(set(question.writers)) < len(question.writers)  # it is to draw anew then
    uniforms = uniform_numbers(question.seed, "playground", side if is_same_twice else 0, shape=(1, 1, length))
    voice = Voice(policy, prompt, uniforms, decoding)
    return Writing(side, name, tokenizer, voice, is_cut_by_context=room < question.max_new_tokens)


def _write(writings: Sequence[Writing], told: Told) -> None:
    """Let them write, and tell what is new every few hundredths of a second."""
    for writing in writings:
        told.state(writing.side, "writing", "reads the prompt")
    standing: list[Progress] = []
    heard = time.monotonic()
    with closing(draw_beside([writing.voice for writing in writings])) as steps:
        for standing in steps:
            if told.stopped:
                break
            if time.monotonic() - heard >= BETWEEN_WORDS:
                _tell(writings, standing, told)
                heard = time.monotonic()
    if standing:
        _tell(writings, standing, told, is_last=True)


def _tell(writings: Sequence[Writing], standing: Sequence[Progress], told: Told, *, is_last: bool = False) -> None:
    for writing, progress in zip(writings, standing, strict=True):
        if writing.is_told:
            continue
        is_end = is_last or progress.is_done
        text = decode_completion(writing.tokenizer, progress.drawn.tokens)
        if not is_end:
            text = text.rstrip(HALF_A_SIGN)
        if text != writing.sent:
            if not writing.sent:
                told.state(writing.side, "writing", "writes")
            is_more = text.startswith(writing.sent)  # a tokenizer may see its last letters otherwise with more of them
            told.text(writing.side, text.removeprefix(writing.sent) if is_more else text, anew=not is_more)
            writing.sent = text
        if is_end:
            told.state(writing.side, "done", _figures(writing, progress))
            writing.is_told = True


def _figures(writing: Writing, progress: Progress) -> str:
    drawn = progress.drawn
    if drawn.ended:
        how = "ended by itself"
    elif not progress.is_done:
        how = "stopped"
    else:
        how = "its context is full" if writing.is_cut_by_context else "cut off at the limit"
    count, speed = len(drawn.tokens), len(drawn.tokens) / progress.seconds if progress.seconds else 0.0
    return f"{count:,} token{'s' if count != 1 else ''}, {speed:,.0f} a second, {how}"


def _score(asked: Asked, writings: Sequence[Writing], models: dict[uuid.UUID, Model], told: Told, shelf: Shelf) -> None:
    """The reward of each answer, where a reward model was chosen."""
    if asked.question.judge is None or not writings:
        return
    messages = [turn.model_dump() for turn in asked.question.messages]
    try:
        folder = _folder(models.get(asked.question.judge), "The reward model")
        judge = shelf.get(str(models[asked.question.judge].storage_key), lambda: load_judge(folder))
        rewards = judge.rewards(messages, [writing.sent for writing in writings])
    except (CannotTrain, TemplateError) as problem:
        for writing in writings:
            told.reward(writing.side, "no reward")
        told.finish(f"The answers were not scored. {problem}", is_bad=True)
        return
    for writing, reward in zip(writings, rewards, strict=True):
        told.reward(writing.side, f"reward {reward:+.2f}")
