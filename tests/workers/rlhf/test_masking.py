"""Positions, last tokens and masks against slow loops."""

import pytest
import torch

from workers.rlhf.masking import completion_targets, last_real_token, position_ids, shared_prefix_mask, take_last

pytestmark = pytest.mark.train


def test_positions_count_real_tokens_on_either_side_of_padding() -> None:
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0]])
    assert position_ids(mask).tolist() == [[0, 0, 0, 1, 2], [0, 1, 2, 2, 2]]


def test_07_the_last_real_token_is_found_whatever_the_padding() -> None:
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0]])
    assert last_real_token(mask).tolist() == [3, 1, 3, 1]
    assert take_last(torch.arange(16).reshape(4, 4), mask).tolist() == [3, 5, 11, 13]


def test_a_row_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="no last token"):
        last_real_token(torch.zeros(1, 3))


def test_01_targets_are_the_positions_before_completion_tokens() -> None:
    mask = completion_targets([(3, 2), (1, 4), (0, 3)], 6)
    # A prompt of 3 and a completion of 2: positions 2 and 3 predict tokens 3 and 4. Text predicts all but its first.
    assert mask.int().tolist() == [[0, 0, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]]


def test_11_a_completion_sees_its_prompt_and_itself_causally() -> None:
    prompt = torch.tensor([[1, 1, 0], [1, 1, 1]])
    mask = shared_prefix_mask(prompt, 2)
    assert mask.shape == (2, 1, 2, 5)
    for row in range(2):
        for place in range(2):
            for seen in range(5):
                allowed = bool(prompt[row, seen]) if seen < 3 else seen - 3 <= place
                assert bool(mask[row, 0, place, seen]) == allowed
