"""Position bias: mean places by what stood where."""

import random

import pytest

from app.quality.alpha import places
from app.quality.position import mean_places
from tests.app.quality.test_agreement import COMPLETIONS

Shown = tuple[list, dict]


def rankings(number: int, *, leaning: bool, length: int = 4) -> list[Shown]:
    """Shuffled completions; one who leans puts first whatever stood first on the page."""
    chance = random.Random(7)
    made = []
    for _ in range(number):
        shown = COMPLETIONS[:length]
        chance.shuffle(shown)
        ranks = {completion: chance.randint(1, 3) for completion in shown}
        if leaning:
            ranks[shown[0]] = 0
        made.append((shown, ranks))
    return made


def test_without_bias_every_position_is_in_the_middle() -> None:
    for figure in mean_places(rankings(400, leaning=False)):
        assert figure.interval is not None
        assert figure.interval[0] < 0.5 < figure.interval[1]


def test_one_who_favours_what_stands_first_is_seen() -> None:
    first, *others = mean_places(rankings(60, leaning=True))
    assert first.interval is not None
    assert (first.value, first.interval) == (0.125, (0.125, 0.125))
    assert all(each.value > 0.5 for each in others)


def test_means_are_those_counted_one_by_one() -> None:
    made = rankings(30, leaning=False) + rankings(30, leaning=True, length=3)
    found = mean_places(made)
    for position, figure in enumerate(found):
        stood = [places(ranks)[shown[position]] for shown, ranks in made if position < len(shown)]
        assert figure.value == pytest.approx(sum(stood) / len(stood))
        assert figure.items == len(stood)
    assert len(found) == 4
