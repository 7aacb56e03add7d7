import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.simulation.utility import (
    TIE_WIDTH,
    agreement,
    calibrate_noise,
    expected_agreement,
    ranks_of,
    share_mentioned,
    share_repeated,
    subjects,
    utility,
    warmth_of_ending,
)
from app.starter.load import _lines


def asks(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_subjects_are_what_the_prompt_is_about() -> None:
    assert subjects(asks("Write a story about a dog who is afraid of rain, with a happy ending.")) == {
        "dog",
        "afraid",
        "rain",
    }
    assert subjects(asks("Word: sun. Story: The sun slept.\nWord: rain. Story:")) == {"rain"}


def test_mentions_are_counted_by_stem() -> None:
    prompt = asks("Write a story about two birds and a kite.")
    assert share_mentioned(prompt, "The bird saw kites.") == 1
    assert share_mentioned(prompt, "A bird sang.") == 0.5
    for one, other in (("bees", "bee"), ("seeds", "seed"), ("berries", "berry"), ("boxes", "box"), ("helped", "helps")):
        assert subjects(asks(one)) == subjects(asks(other))
    assert subjects(asks("king")) != subjects(asks("ring"))
    assert share_mentioned(asks("Tell me a story."), "Anything.") == 1


def test_repetition_is_the_share_of_repeated_trigrams() -> None:
    assert share_repeated("one two three four five") == 0
    assert share_repeated("the cat sat the cat sat") == pytest.approx(1 / 4)
    assert share_repeated("two words") == 0


def test_a_good_story_is_worth_more_than_a_bad_one() -> None:
    prompt = asks("Write a story about a dog and rain.")
    good = "A dog saw the rain. " + " ".join(a + b for a in "abcdefg" for b in "uvwxyz") + " The end."
    repeats = "A dog saw the rain. " * 10
    unfinished = good.removesuffix(".") + " and"
    beside = good.replace("dog", "cat").replace("rain", "snow")
    values = [utility(prompt, text) for text in (good, repeats, unfinished, beside, "Dog rain.")]
    assert values[0] == max(values)
    assert values[0] - values[2] == pytest.approx(0.5)


def test_an_ending_is_warm_by_its_last_words() -> None:
    middle = "They saw the sea and the long grey road. " * 5
    assert warmth_of_ending(middle) == 0
    assert warmth_of_ending("They were happy friends. " + middle) == 0
    assert warmth_of_ending(middle + "At last he smiled.") == 0.5
    assert warmth_of_ending(middle + "They hugged, laughed and went home.") == 1
    assert warmth_of_ending("A display of homework.") == 0


def test_demonstrations_of_the_starter_are_worth_much() -> None:
    values = [utility(row["messages"], row["completion"]) for row in _lines("demonstrations.jsonl")]
    assert sum(values) / len(values) > 2.5


def test_ranks_tie_what_is_close() -> None:
    assert ranks_of([1.0, 3.0, 2.95, 2.0], 0.1) == [3, 1, 1, 2]
    assert ranks_of([3.0, 2.95, 2.89], 0.1) == [1, 1, 2]


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=9), st.floats(0.01, 1))
def test_ranks_are_dense_and_follow_the_scores(scores: list[float], width: float) -> None:
    ranks = ranks_of(scores, width)
    assert set(ranks) == set(range(1, max(ranks) + 1))
    for one, rank in zip(scores, ranks, strict=True):
        assert all(rank <= other_rank for other, other_rank in zip(scores, ranks, strict=True) if one > other)


def test_agreement_leaves_out_what_either_ties() -> None:
    assert agreement([1, 2, 3], [1, 1, 2]) == (2, 2)
    assert agreement([1, 2, 3], [3, 2, 1]) == (3, 0)


def test_calibrated_noise_makes_labelers_agree_as_often_as_wanted() -> None:
    chance = random.Random(1)
    items = [[chance.gauss(1, 0.6) for _ in range(4)] for _ in range(400)]
    noise = calibrate_noise(items, 0.73)
    assert expected_agreement([a - b for item in items for a in item for b in item if a != b], noise) == pytest.approx(
        0.73, abs=0.002
    )
    pairs = alike = 0
    for item in items:
        first, second = ([value + chance.gauss(0, noise) for value in item] for _ in range(2))
        found = agreement(ranks_of(first, TIE_WIDTH * noise), ranks_of(second, TIE_WIDTH * noise))
        pairs, alike = pairs + found[0], alike + found[1]
    assert alike / pairs == pytest.approx(0.73, abs=0.03)


def test_texts_of_equal_worth_leave_only_chance() -> None:
    assert expected_agreement([0.0], 1.0) == pytest.approx(0.5)
    assert calibrate_noise([[1.0, 1.0]], 0.73) < 0.1
    assert calibrate_noise([], 0.73) > 0
