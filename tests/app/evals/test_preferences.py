"""Win rates, strengths and what length has to do with them, on columns made by hand."""

import uuid
from collections.abc import Sequence
from math import log, sqrt

import evalica
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.evals.contestants import Contestant
from app.evals.judgments import Column, Rankings
from app.evals.preferences import Enough, against, enough, strengths, win_rate, win_rate_at_equal_length
from app.evals.spread import Clusters, sigmoid

Placed = Sequence[tuple[int, int, int]]  # contestant, rank, length


def table(rankings: Sequence[Placed], *, labelers: int = 1, contestants: int = 3) -> Rankings:
    """Each ranking is of a prompt of its own; labelers take turns."""
    places = [(number, *place) for number, placed in enumerate(rankings) for place in placed]
    ranking, who, rank, length = (np.array(column) for column in zip(*places, strict=True))
    count = len(rankings)
    return Rankings(
        Clusters(np.arange(count), np.arange(count) % labelers),
        Column(["other"], np.zeros(count, dtype=np.int64)),
        Column(["test"], np.zeros(count, dtype=np.int64)),
        [Contestant(uuid.uuid4()) for _ in range(contestants)],
        ranking,
        who,
        rank,
        length.astype(float),
    )


def duel(one: int, other: int, points: float, *, lengths: tuple[int, int] = (10, 10)) -> Placed:
    ranks = {1.0: (1, 2), 0.5: (1, 1), 0.0: (2, 1)}[points]
    return [(one, ranks[0], lengths[0]), (other, ranks[1], lengths[1])]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.integers(1, 99)), min_size=1, max_size=6),
        min_size=1,
        max_size=6,
    )
)
def test_duels_are_every_pair_of_a_ranking_by_the_slow_way(rankings: list[list[tuple[int, int, int]]]) -> None:
    duels = table(rankings).duels
    found = {
        (ranking, one, other): (points, longer)
        for ranking, one, other, points, longer in zip(
            duels.ranking, duels.one, duels.other, duels.points, duels.longer, strict=True
        )
    }
    expected = {}
    for number, placed in enumerate(rankings):
        for one in range(3):
            for other in range(one + 1, 3):
                pairs = [(a, b) for a in placed for b in placed if (a[0], b[0]) == (one, other)]
                if pairs:
                    points = sum((b[1] > a[1]) + 0.5 * (a[1] == b[1]) for a, b in pairs) / len(pairs)
                    expected[number, one, other] = (points, sum(a[2] - b[2] for a, b in pairs) / len(pairs))
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key] == pytest.approx(values)


def test_a_win_rate_is_seen_from_either_side() -> None:
    rankings = table([duel(0, 1, points) for points in (1, 1, 0.5, 0)], contestants=2)
    mine, theirs = win_rate(against(rankings, 0, 1)), win_rate(against(rankings, 1, 0))
    assert mine is not None
    assert theirs is not None
    assert (mine.mean, theirs.mean) == (0.625, 0.375)
    assert mine.low == pytest.approx(1 - theirs.high)
    assert (mine.n, mine.prompts, mine.labelers) == (4, 4, 1)


def test_a_ranking_of_several_completions_of_a_model_counts_once() -> None:
    many = [(0, 1, 5), (0, 2, 5), (0, 3, 5), (1, 2, 5)]
    rate = win_rate(against(table([many, duel(0, 1, 0)], contestants=2), 0, 1))
    assert rate is not None
    assert rate.mean == pytest.approx((0.5 + 0) / 2)


def test_the_strength_of_two_is_the_log_odds_of_their_win_rate() -> None:
    found = strengths(table([duel(0, 1, 1)] * 30 + [duel(0, 1, 0)] * 10, contestants=2), baseline=1)
    assert [each.contestant for each in found] == [0, 1]
    assert found[0].odds == pytest.approx(log(3))
    rate = found[0].win_rate
    assert rate is not None
    assert rate.mean == pytest.approx(0.75)
    assert sqrt(rate.spread.variance) == pytest.approx(sqrt(0.75 * 0.25 / 39), rel=1e-6)  # the share's own


def test_strengths_are_those_of_another_library() -> None:
    rng = np.random.default_rng(3)
    true = [0.0, 0.4, 0.9, 1.6]
    duels = []
    for _ in range(600):
        one, other = rng.choice(4, 2, replace=False)
        chance = sigmoid(true[one] - true[other])
        duels.append((one, other, rng.choice([1.0, 0.5, 0.0], p=[0.9 * chance, 0.1, 0.9 * (1 - chance)])))
    found = {each.contestant: each.odds for each in strengths(
        table([duel(*each) for each in duels], labelers=7, contestants=4), baseline=0)}  # fmt: skip
    named = {1.0: evalica.Winner.X, 0.5: evalica.Winner.Draw, 0.0: evalica.Winner.Y}
    theirs = evalica.bradley_terry(
        [str(one) for one, *_ in duels], [str(other) for _, other, _ in duels], [named[points] for *_, points in duels],
        win_weight=1.0, tie_weight=0.5, tolerance=1e-12, limit=10_000,
    ).scores  # fmt: skip
    for each, odds in found.items():
        assert odds == pytest.approx(log(theirs[str(each)] / theirs["0"]), abs=1e-4)


def test_who_never_loses_and_who_meets_nobody_have_no_strength() -> None:
    rankings = table([duel(0, 1, 1), duel(0, 1, 0), duel(2, 1, 1), duel(3, 4, 1), duel(3, 4, 0)], contestants=5)
    assert {each.contestant for each in strengths(rankings, baseline=0)} == {0, 1}


def test_who_was_linked_only_through_one_without_a_strength_has_none_either() -> None:
    """Nobody loses to 2 but for nobody: without it nothing joins 3 and 4 to the baseline."""
    duels = [duel(0, 1, 1)] * 6 + [duel(0, 1, 0)] * 4 + [duel(2, 0, 1), duel(2, 3, 1)]
    duels += [duel(3, 4, 1)] * 9 + [duel(3, 4, 0)] * 3
    assert {each.contestant for each in strengths(table(duels, contestants=5), baseline=0)} == {0, 1}


def test_what_all_prompts_say_alike_is_told_when_there_are_enough_of_them() -> None:
    def of(points: float, prompts: int) -> Enough:
        rate = win_rate(against(table([duel(0, 1, points)] * prompts, contestants=2), 0, 1))
        assert rate is not None
        found = enough(rate)
        assert found is not None
        return found

    assert of(1, 2) == Enough(is_told=False, more=2)
    assert of(1, 4) == Enough(is_told=True)
    assert of(0.5, 50) == Enough(is_told=False)
    halves = [[(0, 1, 5), (0, 2, 5), (1, 2, 5)]] * 2  # of two completions one wins and one ties
    rate = win_rate(against(table(halves, contestants=2), 0, 1))
    assert rate is not None
    assert rate.mean == 0.75
    assert rate.low < 0.5 < rate.high, "two prompts tell nothing"


def test_at_equal_length_nothing_is_left_of_what_length_decided() -> None:
    rng = np.random.default_rng(5)
    duels = []
    for _ in range(3000):
        longer = int(rng.normal(60, 100))  # mostly longer
        wins = rng.random() < sigmoid(2 * np.tanh(longer / 100))
        duels.append(duel(0, 1, float(wins), lengths=(500 + longer, 500)))
    mine = against(table(duels, contestants=2), 0, 1)
    plain, equal = win_rate(mine), win_rate_at_equal_length(mine)
    assert plain is not None
    assert equal is not None
    assert plain.mean > 0.6
    assert equal.low < 0.5 < equal.high
    assert equal.high - equal.low < 0.1


def test_where_length_never_differs_or_decides_alone_there_is_no_figure_at_equal_length() -> None:
    same = table([duel(0, 1, 1), duel(0, 1, 0)], contestants=2)
    assert win_rate_at_equal_length(against(same, 0, 1)) is None
    alone = table([duel(0, 1, 1, lengths=(9, 2)), duel(0, 1, 0, lengths=(2, 9))] * 5, contestants=2)
    assert win_rate_at_equal_length(against(alone, 0, 1)) is None


def test_so_many_more_judgments_as_are_said_tell_the_difference_in_four_of_five_worlds() -> None:
    def seen(count: int, seed: int) -> Rankings:
        wins = np.random.default_rng(seed).random(count) < 0.56
        return table([duel(0, 1, float(each)) for each in wins], contestants=2)

    exact = table([duel(0, 1, 1)] * 56 + [duel(0, 1, 0)] * 44, contestants=2)
    rate = win_rate(against(exact, 0, 1))
    assert rate is not None
    said = enough(rate)
    assert said is not None
    assert not said.is_told
    assert said.more is not None
    textbook = 0.56 * 0.44 * ((1.96 + 0.8416) / 0.06) ** 2
    assert 100 + said.more == pytest.approx(textbook, rel=0.02)
    told = 0
    for seed in range(200):
        found = win_rate(against(seen(100 + said.more, seed), 0, 1))
        assert found is not None
        told += found.low > 0.5
    assert 0.7 < told / 200 < 0.9


def test_what_labelers_differ_in_no_number_of_their_labels_tells() -> None:
    split = [duel(0, 1, 1.0 if number % 4 else 0.0) for number in range(400)]  # one of four always disagrees
    rate = win_rate(against(table(split, labelers=4, contestants=2), 0, 1))
    assert rate is not None
    said = enough(rate)
    assert said is not None
    assert (said.is_told, said.more) == (False, None)
