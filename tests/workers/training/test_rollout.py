"""Completions are drawn from the distribution asked for, whatever stands beside them in the batch."""

from itertools import chain

import pytest
import torch
from transformers import GenerationConfig, PreTrainedModel

from tests.workers.training.tiny_ppo import tiny_tokenizer, token_prompts, write_policy
from workers.training.models import load_policy
from workers.training.rollout import Decoding, Drawn, draw_completions, pick_tokens, stop_ids, uniform_numbers

pytestmark = pytest.mark.train

NEVER = frozenset({-1})


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    return load_policy(write_policy(tmp_path_factory.mktemp("policy")))


def numbers(n: int, copies: int, length: int) -> torch.Tensor:
    return uniform_numbers(3, "test", shape=(n, copies, length))


def teacher_forced(policy: PreTrainedModel, prompt: list[int], drawn: Drawn, *, temperature: float) -> torch.Tensor:
    """The log-probabilities of a completion from one plain pass over prompt and completion."""
    with torch.no_grad():
        logits = policy(torch.tensor([prompt + drawn.tokens])).logits[0, len(prompt) - 1 : -1]
    return (logits / temperature).log_softmax(-1).gather(1, torch.tensor(drawn.tokens)[:, None])[:, 0]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_13_behaviour_logprobs_equal_teacher_forced_recompute(policy: PreTrainedModel, temperature: float) -> None:
    prompts = token_prompts([5, 1, 12, 5, 3])
    decoding = Decoding(max_new_tokens=9, eos_ids=frozenset(range(20)), temperature=temperature)
    drawn = draw_completions(policy, prompts, numbers(5, 3, 9), decoding=decoding)
    assert any(d.ended for own in drawn for d in own)
    for prompt, own in zip(prompts, drawn, strict=True):
        for completion in own:
            expected = teacher_forced(policy, prompt, completion, temperature=temperature)
            assert torch.allclose(torch.tensor(completion.logprobs), expected, atol=1e-4)


def test_14_a_prompt_draws_the_same_alone_and_in_a_ragged_batch(policy: PreTrainedModel) -> None:
    prompts, uniforms = token_prompts([5, 1, 12, 30, 3]), numbers(5, 4, 9)
    decoding = Decoding(max_new_tokens=9, eos_ids=frozenset(range(40)))
    together = draw_completions(policy, prompts, uniforms, decoding=decoding)
    for i, prompt in enumerate(prompts):
        for k in range(4):
            ((alone,),) = draw_completions(policy, [prompt], uniforms[i : i + 1, k : k + 1], decoding=decoding)
            assert together[i][k].tokens == alone.tokens
            assert together[i][k].logprobs == pytest.approx(alone.logprobs, abs=1e-5)


@pytest.mark.parametrize("rows", [2, 6, 9])
def test_14_rows_that_are_given_to_waiting_prompts_draw_what_one_batch_draws(
    policy: PreTrainedModel, rows: int
) -> None:
    prompts, uniforms = token_prompts([8, 2, 5, 2, 9, 1, 20, 3, 3, 17, 4]), numbers(11, 2, 7)
    ends = frozenset(range(60))
    wide = draw_completions(policy, prompts, uniforms, decoding=Decoding(max_new_tokens=7, eos_ids=ends, rows=64))
    narrow = draw_completions(policy, prompts, uniforms, decoding=Decoding(max_new_tokens=7, eos_ids=ends, rows=rows))
    assert [[d.tokens for d in own] for own in wide] == [[d.tokens for d in own] for own in narrow]
    assert len({len(d.tokens) for own in wide for d in own}) > 3


def test_15_a_completion_ends_at_its_first_eos(policy: PreTrainedModel) -> None:
    uniforms, prompts = numbers(6, 4, 12), token_prompts([4] * 6)
    endless = draw_completions(policy, prompts, uniforms, decoding=Decoding(max_new_tokens=12, eos_ids=NEVER))
    eos_ids = frozenset({17, 40, 99, 120, 200, *range(50, 60)})
    ended = draw_completions(policy, prompts, uniforms, decoding=Decoding(max_new_tokens=12, eos_ids=eos_ids))
    for whole, cut in zip(chain(*endless), chain(*ended), strict=True):
        ends = [t for t, token in enumerate(whole.tokens) if token in eos_ids]
        length = ends[0] + 1 if ends else 12
        assert cut.tokens == whole.tokens[:length]
        assert len(cut.logprobs) == length
        assert cut.ended == bool(ends)
    assert {d.ended for own in ended for d in own} == {True, False}


def test_12_the_models_own_generation_settings_have_no_say(policy: PreTrainedModel) -> None:
    prompts, uniforms = token_prompts([4, 7]), numbers(2, 8, 8)
    decoding = Decoding(max_new_tokens=8, eos_ids=NEVER, temperature=1.3)
    before = draw_completions(policy, prompts, uniforms, decoding=decoding)
    own = policy.generation_config
    policy.generation_config = GenerationConfig(do_sample=True, temperature=0.01, top_k=1, repetition_penalty=5.0)
    after = draw_completions(policy, prompts, uniforms, decoding=decoding)
    policy.generation_config = own
    assert after == before


def test_12_tokens_are_drawn_as_often_as_their_probability_says() -> None:
    torch.manual_seed(0)
    logits, n = torch.randn(20) * 2, 200_000
    for decoding, kept in [
        (Decoding(max_new_tokens=1, eos_ids=NEVER), 20),
        (Decoding(max_new_tokens=1, eos_ids=NEVER, temperature=0.5), 20),
        (Decoding(max_new_tokens=1, eos_ids=NEVER, top_p=0.8), None),
    ]:
        probs = (logits / decoding.temperature).softmax(0)
        if kept is None:  # the fewest likeliest tokens that reach top_p together
            order = probs.argsort(descending=True)
            reached = int((probs[order].cumsum(0) < decoding.top_p).sum()) + 1
            probs = torch.zeros(20).index_copy(0, order[:reached], probs[order[:reached]])
            probs = probs / probs.sum()
        tokens, logprobs = pick_tokens(logits.expand(n, 20), torch.rand(n), decoding=decoding)
        frequencies = torch.bincount(tokens, minlength=20) / n
        assert torch.allclose(frequencies, probs, atol=0.005)
        assert not frequencies[probs == 0].any()
        expected = (logits / decoding.temperature).log_softmax(0)[tokens]
        assert torch.allclose(logprobs, expected, atol=1e-5)


def test_12_temperature_zero_takes_the_likeliest_token() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, -1.0, 0.0]])
    decoding = Decoding(max_new_tokens=1, eos_ids=NEVER, temperature=0)
    tokens, _ = pick_tokens(logits, torch.rand(2), decoding=decoding)
    assert tokens.tolist() == [1, 0]


@pytest.mark.parametrize("uniform", [0.0, 1.0 - 2**-24])
def test_12_the_ends_of_the_unit_interval_never_hit_an_impossible_token(uniform: float) -> None:
    logits = torch.tensor([[-torch.inf, 0.0, 1.0, -torch.inf]])
    tokens, _ = pick_tokens(logits, torch.tensor([uniform]), decoding=Decoding(max_new_tokens=1, eos_ids=NEVER))
    assert tokens.item() in (1, 2)


def test_20_every_configured_end_token_stops(policy: PreTrainedModel) -> None:
    own = policy.generation_config
    policy.generation_config = GenerationConfig(eos_token_id=[7, 9])
    assert stop_ids(policy, tiny_tokenizer()) == {0, 7, 9}
    policy.generation_config = GenerationConfig(eos_token_id=5)
    assert stop_ids(policy, tiny_tokenizer()) == {0, 5}
    policy.generation_config = own


def test_dropout_must_be_off_while_drawing(policy: PreTrainedModel) -> None:
    policy.train()
    with pytest.raises(AssertionError, match="dropout"):
        draw_completions(policy, [[3]], numbers(1, 1, 2), decoding=Decoding(max_new_tokens=2, eos_ids=NEVER))
    policy.eval()


def test_a_prompt_is_read_once_for_all_its_completions(policy: PreTrainedModel) -> None:
    read: list[int] = []
    handle = policy.register_forward_pre_hook(
        lambda _, __, inputs: read.append(inputs["input_ids"].numel()), with_kwargs=True
    )
    draw_completions(policy, token_prompts([40]), numbers(1, 9, 3), decoding=Decoding(max_new_tokens=3, eos_ids=NEVER))
    handle.remove()
    assert read == [39]  # and each token's step goes by the weights


def test_uniform_numbers_belong_to_their_names() -> None:
    first = uniform_numbers(1, "prompt-1", shape=(4,))
    torch.rand(100)
    assert torch.equal(first, uniform_numbers(1, "prompt-1", shape=(4,)))
    assert not torch.equal(first, uniform_numbers(1, "prompt-2", shape=(4,)))
    assert not torch.equal(first, uniform_numbers(2, "prompt-1", shape=(4,)))
