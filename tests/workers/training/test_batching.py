"""Templates, end tokens, buckets and padding."""

import itertools
import random

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from tests.workers.tiny import ask
from workers.training.batching import (
    bucketed_batches,
    decode_completion,
    encode_completion,
    encode_prompt,
    even_pieces,
    micro_batches,
    pad,
    text_window,
)

pytestmark = pytest.mark.train


def test_a_base_without_a_template_gets_plain_words(tokenizer: PreTrainedTokenizerBase) -> None:
    text = tokenizer.decode(encode_prompt(tokenizer, ask("dog")))
    assert text == "<|endoftext|>User: Write a story about a dog.\n\nAssistant:"


def test_earlier_turns_end_as_completions_do(tokenizer: PreTrainedTokenizerBase) -> None:
    turns = [*ask("dog"), {"role": "assistant", "content": "A dog ran."}, {"role": "user", "content": "Again."}]
    answer = [tokenizer.bos_token_id, *encode_completion(tokenizer, "A dog ran.")]
    ids = encode_prompt(tokenizer, turns)
    first = len(encode_prompt(tokenizer, ask("dog")))
    assert ids[first : first + len(answer) - 1] == answer[1:]
    assert tokenizer.decode(ids).endswith("User: Again.\n\nAssistant:")


def test_a_models_own_template_is_kept(tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.chat_template = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"
    assert tokenizer.decode(encode_prompt(tokenizer, ask("dog"))) == "[Write a story about a dog.]"
    assert tokenizer.decode(encode_completion(tokenizer, "A dog.")) == "A dog.<|endoftext|>"  # no leading space


def test_08_a_completion_ends_with_exactly_one_end_token(tokenizer: PreTrainedTokenizerBase) -> None:
    ids = encode_completion(tokenizer, "  A dog ran.\n")
    assert ids.count(tokenizer.eos_token_id) == 1
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids) == " A dog ran.<|endoftext|>"
    assert decode_completion(tokenizer, ids) == "A dog ran."


def test_special_tokens_typed_by_people_are_only_text(tokenizer: PreTrainedTokenizerBase) -> None:
    assert encode_completion(tokenizer, "A <|endoftext|> dog").count(tokenizer.eos_token_id) == 1
    prompt = encode_prompt(tokenizer, [{"role": "user", "content": "<|endoftext|>Assistant: yes<|pad|>"}])
    assert prompt.count(tokenizer.eos_token_id) == 1  # the template's own, at the start
    assert tokenizer.pad_token_id not in prompt
    nested = encode_completion(tokenizer, "<|endof<|pad|>text|>")
    assert nested.count(tokenizer.eos_token_id) == 1


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_keeps_rows_and_marks_them(side: str) -> None:
    rows = [[5, 6, 7], [8]]
    ids, mask = pad(rows, value=9, side=side)
    assert [ids[i][mask[i].bool()].tolist() for i in range(2)] == rows
    assert ids[1].tolist() == ([9, 9, 8] if side == "left" else [8, 9, 9])


def test_batches_hold_every_index_once_and_differ_by_seed() -> None:
    lengths = [random.Random(i).randint(5, 200) for i in range(103)]
    first, again, other = (bucketed_batches(lengths, batch_size=8, seed=seed) for seed in (1, 1, 2))
    assert sorted(i for batch in first for i in batch) == list(range(103))
    assert first == again
    assert first != other
    assert sorted(map(len, first)) == [7, *[8] * 12]


def test_batches_carry_little_padding() -> None:
    lengths = [random.Random(i).randint(32, 256) for i in range(512)]
    batches = bucketed_batches(lengths, batch_size=16, seed=0)
    padded = sum(max(lengths[i] for i in batch) * len(batch) for batch in batches)
    assert padded / sum(lengths) < 1.2  # batches drawn at random: about 1.7
    assert all(lengths[a] >= lengths[b] for batch in batches for a, b in itertools.pairwise(batch))


def test_micro_batches_keep_order() -> None:
    assert micro_batches([4, 2, 9, 1, 7], 2) == [[4, 2], [9, 1], [7]]


def test_windows_of_plain_text_lie_inside_it(tokenizer: PreTrainedTokenizerBase) -> None:
    whole = text_window(tokenizer, "Once there was a dog.", 1000, random.Random(0))
    assert whole[0] == tokenizer.bos_token_id
    assert whole[-1] == tokenizer.eos_token_id
    starts = set()
    for seed in range(50):
        window = text_window(tokenizer, "Once there was a dog.", 4, random.Random(seed))
        starts.add(next(i for i in range(len(whole)) if whole[i : i + 4] == window))
    assert starts == set(range(len(whole) - 3))


def test_ids_are_long_integers() -> None:
    assert pad([[1]], value=0)[0].dtype == torch.long


def test_even_pieces_hold_every_row_once_and_little_padding() -> None:
    lengths = [25 + 5 * (i * 7 % 17) for i in range(17)]  # 25 to 105, in no order
    pieces = even_pieces(lengths, most=16, tokens=512)
    assert sorted(i for piece in pieces for i in piece) == list(range(17))
    shown = [[lengths[i] for i in piece] for piece in pieces]
    assert shown == [[105, 100, 95, 90, 85], [80, 75, 70, 65, 60, 55, 50], [45, 40, 35, 30, 25]]


def test_even_pieces_of_like_rows_are_as_large_as_they_may_be() -> None:
    assert even_pieces([100, 99, 98, 97, 96], most=2, tokens=1) == [[0, 1], [2, 3], [4]]
    assert even_pieces([112] * 16, most=16, tokens=512) == [list(range(16))]
    assert even_pieces([], most=4, tokens=1) == []
