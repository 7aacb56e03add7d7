"""Completions drawn side by side, a token each in turn, are those that each model draws alone."""

from contextlib import closing

import pytest
import torch
from transformers import LlamaConfig, PreTrainedConfig, PreTrainedModel

from tests.workers.architectures import PACKED, PADDED, SHAPE, WINDOWED, of_architecture
from workers.training.beside import Voice, draw_beside
from workers.training.rollout import Decoding, draw_completions, uniform_numbers

PROMPT = list(range(5, 21))


def _voice(model: PreTrainedModel, *, seed: int = 0, tokens: int = 12, eos: int = 0) -> Voice:
    decoding = Decoding(max_new_tokens=tokens, eos_ids=frozenset([eos]), rows=1)
    return Voice(model, PROMPT, uniform_numbers(seed, shape=(1, 1, tokens)), decoding)


def _alone(voice: Voice) -> list[int]:
    ((drawn,),) = draw_completions(voice.model, [voice.prompt], voice.uniforms, decoding=voice.decoding)
    return drawn.tokens


@pytest.mark.parametrize("config", [*PACKED, *PADDED, *WINDOWED], ids=lambda config: config.model_type)
def test_each_draws_what_it_draws_alone(config: PreTrainedConfig) -> None:
    voices = [_voice(of_architecture(config)), _voice(of_architecture(LlamaConfig(**SHAPE)), tokens=7)]
    *_, standing = draw_beside(voices)
    assert [progress.drawn.tokens for progress in standing] == [_alone(voice) for voice in voices]
    assert all(progress.is_done and progress.seconds > 0 for progress in standing)


def test_one_model_can_stand_on_both_sides() -> None:
    model = of_architecture(LlamaConfig(**SHAPE))
    voices = [_voice(model), _voice(model, seed=1)]
    *_, standing = draw_beside(voices)
    assert [progress.drawn.tokens for progress in standing] == [_alone(voice) for voice in voices]


def test_they_take_turns_and_one_that_ends_lets_the_other_go_on() -> None:
    model = of_architecture(LlamaConfig(**SHAPE))
    first = _alone(_voice(model))
    steps = draw_beside([_voice(model, eos=first[2]), _voice(model)])
    counts = [tuple(len(progress.drawn.tokens) for progress in standing) for standing in steps]
    assert counts == [(1, 0), (1, 1), (2, 1), (2, 2), (3, 2), *((3, number) for number in range(3, 13))]


def test_broken_off_it_leaves_the_model_as_it_was() -> None:
    model = of_architecture(PACKED[-1])
    before = model.config._attn_implementation
    with closing(draw_beside([_voice(model)])) as steps:
        next(steps)
        assert torch.is_grad_enabled(), "whoever reads on is not without gradients"
    assert model.config._attn_implementation == before
    assert all(getattr(module, "laid_out", None) is None for module in model.modules())
