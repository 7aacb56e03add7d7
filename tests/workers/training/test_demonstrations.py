"""The order that demonstrations and plain text come in."""

import random

import pytest
from transformers import PreTrainedTokenizerBase

from app.runs.configs import SftConfig
from workers.training.demonstrations import Data, Row, batches, draw_texts, steps_in_epoch

pytestmark = pytest.mark.train

CONFIG = SftConfig(max_prompt_tokens=40, max_completion_tokens=60, batch_size=4, micro_batch_size=2, epochs=3)


def data(n: int) -> Data:
    rows = [Row([5] * random.Random(i).randint(1, 30), [6, 0], [{"role": "user", "content": str(i)}]) for i in range(n)]
    return Data(train=rows, valid=[], texts=[], left_out=0)


@pytest.mark.parametrize("by_length", [False, True])
def test_each_epoch_has_every_demonstration_once_in_another_order(by_length: bool) -> None:
    given = data(11)
    come = list(batches(CONFIG, given, after=0, by_length=by_length))
    assert len(come) == 3 * steps_in_epoch(CONFIG, given) == 9
    epochs = [[row for batch in come[start : start + 3] for row in batch] for start in (0, 3, 6)]
    assert all(sorted(map(id, epoch)) == sorted(map(id, given.train)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_batches_by_length_are_of_similar_length() -> None:
    given = data(12)

    def spread(by_length: bool) -> int:
        come = list(batches(CONFIG, given, after=0, by_length=by_length))
        return sum(max(map(len, batch)) - min(map(len, batch)) for batch in come)

    assert spread(True) < 0.7 * spread(False)


@pytest.mark.parametrize("after", [0, 1, 3, 5, 8, 9])
def test_a_run_that_goes_on_gets_the_batches_it_has_not_had(after: int) -> None:
    given = data(11)
    assert list(batches(CONFIG, given, after=after)) == list(batches(CONFIG, given, after=0))[after:]


def test_texts_are_drawn_the_same_for_the_same_step(tokenizer: PreTrainedTokenizerBase) -> None:
    config = SftConfig(**(CONFIG.model_dump() | {"pretraining_mix": 0.75}))
    texts = [f"Text {i} about a dog and a cat. " * 20 for i in range(9)]
    drawn = [draw_texts(config, tokenizer, texts, step=step) for step in (4, 4, 5)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 3  # of a batch of 4
    assert all(len(row) <= CONFIG.max_prompt_tokens + CONFIG.max_completion_tokens for row in drawn[0])
