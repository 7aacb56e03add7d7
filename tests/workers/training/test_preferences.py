"""What is said of a reward model on held-out rankings, against slow counts by hand."""

import math
import random
from itertools import combinations

import pytest

from workers.training.preferences import Judged, accuracy, calibration, calibration_error, figures, report, spearman

pytestmark = pytest.mark.train


def some(count: int, *, seed: int = 0) -> list[Judged]:
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        k = chance.randint(2, 6)
        places = chance.sample(range(k), k)
        pairs = [(a, b) if places[a] < places[b] else (b, a) for a, b in combinations(range(k), 2)]
        scores = [chance.gauss(-places[i] / 2, 1.5) for i in range(k)]
        made.append(Judged(scores, [chance.randint(1, 40) for _ in range(k)], pairs, 1))
    return made


def flat(judged: list[Judged]) -> list[tuple[float, int, int]]:
    """(margin, length of the winner, of the loser) of every pair."""
    return [(e.scores[i] - e.scores[j], e.lengths[i], e.lengths[j]) for e in judged for i, j in e.pairs]


def test_calibration_counts_each_pair_once_in_the_bin_of_its_probability() -> None:
    judged = some(60)
    bins: dict[int, list[tuple[float, float]]] = {}
    for margin, *_ in flat(judged):
        sure = 1 / (1 + math.exp(-abs(margin)))
        bins.setdefault(min(9, int((sure - 0.5) / 0.05)), []).append((sure, float(margin > 0)))
    expected = [
        {
            "predicted": sum(sure for sure, _ in rows) / len(rows),
            "preferred": sum(right for _, right in rows) / len(rows),
            "pairs": len(rows),
        }
        for _, rows in sorted(bins.items())
    ]
    found = calibration(judged)
    assert len(found) == 10
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other)
    error = sum(
        len(r) * abs(e["predicted"] - e["preferred"]) for e, (_, r) in zip(expected, sorted(bins.items()), strict=True)
    )
    assert calibration_error(found) == pytest.approx(error / len(flat(judged)))


def test_labels_drawn_from_the_models_own_odds_are_calibrated() -> None:
    chance = random.Random(3)
    judged = []
    for _ in range(4000):
        one, other = chance.gauss(0, 1.5), chance.gauss(0, 1.5)
        is_first = chance.random() < 1 / (1 + math.exp(other - one))
        judged.append(Judged([one, other], [5, 5], [(0, 1) if is_first else (1, 0)], 1))
    sure = [Judged([10 * s for s in each.scores], each.lengths, each.pairs, 1) for each in judged]
    assert calibration_error(calibration(judged)) < 0.02
    assert calibration_error(calibration(sure)) > 0.15  # as often right, far too sure


def test_length_figures_by_hand() -> None:
    judged = some(50, seed=1)
    found, pairs = figures(judged), flat(judged)
    unlike = [pair for pair in pairs if pair[1] != pair[2]]
    assert found["longer_wins_by_labelers"] == pytest.approx(sum(w > o for _, w, o in unlike) / len(unlike))
    model = [(w > o) if margin > 0 else (o > w) for margin, w, o in unlike]
    assert found["longer_wins_by_model"] == pytest.approx(sum(model) / len(unlike))
    like = [margin for margin, w, o in pairs if abs(w - o) <= 0.1 * max(w, o)]
    assert found["like_length_pairs"] == len(like) > 0
    assert found["like_length_accuracy"] == pytest.approx(sum(margin > 0 for margin in like) / len(like))


def test_spearman_by_hand_with_equal_values_sharing_their_rank() -> None:
    assert spearman([1, 2, 3, 4], [10, 20, 30, 1000]) == pytest.approx(1)
    assert spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    # ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4
    assert spearman([5, 7, 7, 9], [1, 2, 3, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert spearman([1, 1], [1, 2]) is None


def test_a_reward_that_is_length_correlates_wholly_and_prefers_the_longer() -> None:
    judged = [Judged([float(n) for n in each.lengths], each.lengths, each.pairs, 1) for each in some(30, seed=2)]
    found = figures(judged)
    assert found["length_correlation"] == pytest.approx(1)
    assert found["longer_wins_by_model"] == 1


def test_equal_scores_count_one_half() -> None:
    seen = accuracy([Judged([1.0, 1.0], [3, 4], [(0, 1)], 1), Judged([1.0, 0.0], [3, 4], [(0, 1)], 1)])
    assert seen is not None
    assert seen.value == 0.75


def test_without_held_out_rankings_there_are_only_counts() -> None:
    assert figures([]) == {"valid_rankings": 0}
    assert report([]) == {}
    assert accuracy([]) is None
