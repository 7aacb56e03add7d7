"""Rankings into elements: a prompt's pairs together, ties dropped, hopeless data refused."""

import pytest
from transformers import PreTrainedTokenizerBase

from app.datasets.examples import Ranking
from app.runs.configs import RewardModelConfig
from tests.workers.tiny import CONTEXT, ranking
from workers.training.batching import encode_completion
from workers.training.loop import CannotTrain
from workers.training.rankings import Elements, prepare

pytestmark = pytest.mark.train

CONFIG = RewardModelConfig(max_prompt_tokens=40, max_completion_tokens=60)


def prepared(tokenizer: PreTrainedTokenizerBase, *given: Ranking, config: RewardModelConfig = CONFIG) -> Elements:
    return prepare(config, given, tokenizer, context=CONTEXT)


def refusal(tokenizer: PreTrainedTokenizerBase, *given: Ranking, config: RewardModelConfig = CONFIG) -> str:
    with pytest.raises(CannotTrain) as refused:
        prepared(tokenizer, *given, config=config)
    return str(refused.value)


def test_05_ties_and_all_tied_rankings_make_no_pairs(tokenizer: PreTrainedTokenizerBase) -> None:
    given = [
        ranking(0, ["a", "b", "c"], [1, 1, 2]),
        ranking(1, ["a", "b"], [2, 1]),
        ranking(2, ["a", "b", "c"], [1, 1, 1]),
    ]
    elements = prepared(tokenizer, *given)
    assert [element.pairs for element in elements.train] == [[(0, 2), (1, 2)], [(1, 0)]]
    assert elements.all_tied == 1


def test_06_all_rankings_of_a_prompt_are_one_element(tokenizer: PreTrainedTokenizerBase) -> None:
    given = [
        ranking(0, ["a", "b", "c"], [1, 2, 3], labeler="ann"),
        ranking(1, ["x", "y"], [1, 2]),
        ranking(0, ["c", "b", "d"], [1, 2, 3], id="second", labeler="ben"),
    ]
    first, second = prepared(tokenizer, *given).train
    assert len(first.completions) == 4  # b and c were ranked twice and are encoded once
    assert first.pairs == [(0, 1), (0, 2), (1, 2), (2, 1), (2, 3), (1, 3)]
    assert (first.rankings, second.rankings) == (2, 1)


def test_06_a_prompt_in_two_splits_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    given = [
        ranking(0, ["a", "b"], [1, 2]),
        ranking(0, ["a", "b"], [1, 2], split="valid"),
        ranking(1, ["a", "b"], [1, 2]),
    ]
    assert "1 prompts have rankings both in train and in valid" in refusal(tokenizer, *given)


def test_08_every_ranked_completion_ends_with_the_end_token(tokenizer: PreTrainedTokenizerBase) -> None:
    elements = prepared(tokenizer, ranking(0, ["a", "b"], [1, 2]), ranking(1, ["a", "b"], [1, 2]))
    assert elements.train[0].completions == [encode_completion(tokenizer, "a"), encode_completion(tokenizer, "b")]
    assert all(c[-1] == tokenizer.eos_token_id for e in elements.train for c in e.completions)


def test_the_same_text_twice_with_different_ranks_is_no_pair(tokenizer: PreTrainedTokenizerBase) -> None:
    elements = prepared(tokenizer, ranking(0, ["a", "a", "b"], [1, 2, 3]), ranking(1, ["a", "b"], [1, 2]))
    assert elements.train[0].pairs == [(0, 1), (0, 1)]


def test_splits_stay_apart_and_test_is_never_read(tokenizer: PreTrainedTokenizerBase) -> None:
    given = [ranking(i, ["a", "b"], [1, 2], split=split) for i, split in enumerate(["train", "valid", "test", "train"])]
    elements = prepared(tokenizer, *given)
    assert (len(elements.train), len(elements.valid)) == (2, 1)


def test_a_completion_over_the_limit_is_left_out_and_counted(tokenizer: PreTrainedTokenizerBase) -> None:
    given = [ranking(0, ["a", "b", "zq" * 60], [1, 2, 3]), ranking(1, ["a", "b"], [1, 2])]
    elements = prepared(tokenizer, *given)
    assert elements.train[0].pairs == [(0, 1)]
    assert elements.completions_left_out == 1


def test_a_completion_that_was_cut_at_the_limit_still_fits_with_its_end_token(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    tokens = len(encode_completion(tokenizer, "zqzqzq")) - 1
    config = CONFIG.model_copy(update={"max_completion_tokens": tokens})
    given = [ranking(i, ["zqzqzq", "b"], [1, 2]) for i in range(2)]
    assert prepared(tokenizer, *given, config=config).completions_left_out == 0
    shorter = config.model_copy(update={"max_completion_tokens": tokens - 1})
    assert "Fewer than 2 rankings of the train split are left" in refusal(tokenizer, *given, config=shorter)


class TestRefused:
    """Rankings that no reward model can be trained on, each with its reason in words."""

    def test_none(self, tokenizer: PreTrainedTokenizerBase) -> None:
        assert "There are no rankings in the train split" in refusal(tokenizer)
        held_out = ranking(0, ["a", "b"], [1, 2], split="valid")
        assert "There are no rankings in the train split" in refusal(tokenizer, held_out)

    def test_one(self, tokenizer: PreTrainedTokenizerBase) -> None:
        tied = ranking(1, ["a", "b"], [1, 1])
        assert "Only 1 ranking" in refusal(tokenizer, ranking(0, ["a", "b"], [1, 2]), tied)

    def test_all_tied(self, tokenizer: PreTrainedTokenizerBase) -> None:
        tied = [ranking(i, ["a", "b"], [1, 1]) for i in range(3)]
        assert "Every ranking is a tie from first to last (3 of them)" in refusal(tokenizer, *tied)

    def test_limits_beyond_the_context(self, tokenizer: PreTrainedTokenizerBase) -> None:
        given = [ranking(i, ["a", "b"], [1, 2]) for i in range(2)]
        reason = refusal(tokenizer, *given, config=RewardModelConfig(max_prompt_tokens=100, max_completion_tokens=30))
        assert "make 131 tokens, but this model reads 128. Set the two to 127 together at most." in reason

    def test_most_completions_too_long(self, tokenizer: PreTrainedTokenizerBase) -> None:
        given = [ranking(i, ["zq" * 60, "zq" * 70, "b"], [1, 2, 3]) for i in range(2)]
        reason = refusal(tokenizer, *given)
        assert "4 of 6 ranked completions are longer than max_prompt_tokens 40 or max_completion_tokens 60" in reason
        longest = len(encode_completion(tokenizer, "zq" * 70)) - 1
        assert f"and {longest}; this model reads 128 tokens" in reason
