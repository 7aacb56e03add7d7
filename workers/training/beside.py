"""One completion of each of several models, a token of each in turn, so that they can be watched side by side."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from workers.training.adapters import has_lora
from workers.training.decoding_attention import attending_by_products
from workers.training.matmul import weights_laid_out
from workers.training.rollout import Batch, Decoding, Drawn
from workers.training.rows_by_weights import goes_by_weights
from workers.training.step_masks import refuse_unknown_attention


@dataclass(frozen=True, slots=True)
class Voice:
    """A model with the prompt that it is to complete; `uniforms` (1, 1, max_new_tokens) decide how."""

    model: PreTrainedModel
    prompt: list[int]
    uniforms: Tensor
    decoding: Decoding


@dataclass(slots=True)
class Progress:
    """A voice's completion so far, and the seconds that its tokens took, without reading the prompt."""

    drawn: Drawn
    seconds: float = 0.0
    is_done: bool = False


def draw_beside(voices: Sequence[Voice]) -> Iterator[list[Progress]]:
    """Yields where all of them stand, after each token of each; the same tokens as `draw_completions` gives."""
    batches = []
    for voice in voices:
        assert voice.prompt, "a prompt has at least one token"
        assert not voice.model.training, "dropout must be off while completions are drawn"
        refuse_unknown_attention(voice.model.config)
        batches.append(Batch(voice.model, [voice.prompt], voice.uniforms, voice.decoding))
    standing = [Progress(batch.drawn[0][0]) for batch in batches]
    with ExitStack() as stack:
        for model in {id(voice.model): voice.model for voice in voices}.values():
            if not goes_by_weights(model) or has_lora(model):
                stack.enter_context(weights_laid_out(model))
            stack.enter_context(attending_by_products(model))
        while not all(each.is_done for each in standing):
            for batch, progress in zip(batches, standing, strict=True):
                if not progress.is_done:
                    _step(batch, progress)
                    yield standing


def _step(batch: Batch, progress: Progress) -> None:
    """A token, or the prompt and its first token."""
    with torch.no_grad():  # not around the yield: whoever reads on may want gradients
        batch.make_room()
        started = time.perf_counter()
        batch.step()
        progress.seconds += time.perf_counter() - started
    progress.is_done = progress.drawn.ended or len(progress.drawn.tokens) == batch.decoding.max_new_tokens
