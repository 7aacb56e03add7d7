"""How a reward model judges rankings it never saw: how often right, how sure, and what length has to do with it."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from workers.training.accuracy import Accuracy, clustered_accuracy
from workers.training.batching import micro_batches
from workers.training.models import RewardModel
from workers.training.rankings import Element

EVALUATION_BATCH = 16  # prompts scored side by side
BINS = 10  # of the calibration curve
LIKE_LENGTHS = 0.1  # two completions are of like length when they differ by a tenth of the longer at most


@dataclass(frozen=True, slots=True)
class Judged:
    """A prompt's completions with the model's scores and their lengths in tokens, and the labelers' untied pairs."""

    scores: list[float]
    lengths: list[int]
    pairs: list[tuple[int, int]]  # (winner, loser)
    rankings: int


@torch.no_grad()
def judge(model: RewardModel, elements: Sequence[Element]) -> list[Judged]:
    """Scores every element that has a pair to be right or wrong about."""
    by_length = sorted((element for element in elements if element.pairs), key=len)
    judged: list[Judged] = []
    for piece in micro_batches(range(len(by_length)), EVALUATION_BATCH):
        few = [by_length[i] for i in piece]
        scores = model.score_completions([e.prompt for e in few], [e.completions for e in few]).tolist()
        for element in few:
            own, scores = scores[: len(element.completions)], scores[len(element.completions) :]
            judged.append(Judged(own, [len(c) for c in element.completions], element.pairs, element.rankings))
    return judged


def accuracy(judged: Sequence[Judged]) -> Accuracy | None:
    """Share of untied pairs scored in the labeler's order, clustered by prompt; none where there are none."""
    if not judged:
        return None
    right = [sum(_win(each.scores[winner] - each.scores[loser]) for winner, loser in each.pairs) for each in judged]
    return clustered_accuracy(right, [len(each.pairs) for each in judged])


def figures(judged: Sequence[Judged]) -> dict[str, float]:
    """What is said of a reward model in single figures; only counts where no ranking was held out."""
    counts = {"valid_rankings": float(sum(each.rankings for each in judged))}
    seen = accuracy(judged)
    if seen is None:
        return counts
    interval = {"valid_accuracy_low": seen.low, "valid_accuracy_high": seen.high, "valid_pairs": float(seen.pairs)}
    error = {"calibration_error": calibration_error(calibration(judged))}
    return {"valid_accuracy": seen.value, **interval, **counts, **error, **length_figures(judged)}


def report(judged: Sequence[Judged]) -> dict[str, Any]:
    """What takes more than a figure to say."""
    return {"calibration": calibration(judged)} if judged else {}


def calibration(judged: Sequence[Judged]) -> list[dict[str, float]]:
    """How sure and how often right: pairs in 10 bins by the probability, 1/2 to 1, of the completion scored higher.

    A bin has the mean of those probabilities, sigmoid(|r_i - r_j|), the share of pairs in which labelers preferred
    that completion too, and how many pairs it has; empty bins are left out.
    """
    margins = [each.scores[winner] - each.scores[loser] for each, (winner, loser) in _pairs(judged)]
    sure = np.array([1 / (1 + math.exp(-min(abs(margin), 700.0))) for margin in margins])
    right = np.array([_win(margin) for margin in margins])
    places = np.minimum(((sure - 0.5) * 2 * BINS).astype(int), BINS - 1)
    return [
        {"predicted": float(sure[here].mean()), "preferred": float(right[here].mean()), "pairs": float(here.sum())}
        for here in (places == number for number in range(BINS))
        if here.any()
    ]


def calibration_error(bins: Sequence[dict[str, float]]) -> float:
    """Expected calibration error: how far predicted and real shares are apart, over all pairs."""
    pairs = sum(each["pairs"] for each in bins)
    return sum(each["pairs"] * abs(each["predicted"] - each["preferred"]) for each in bins) / pairs


def length_figures(judged: Sequence[Judged]) -> dict[str, float]:
    """Whether reward follows length: rank correlation, how often the longer wins, accuracy at like lengths."""
    scores = [score for each in judged for score in each.scores]
    correlation = spearman(scores, [length for each in judged for length in each.lengths])
    found = {} if correlation is None else {"length_correlation": correlation}
    unlike = [(each, pair) for each, pair in _pairs(judged) if each.lengths[pair[0]] != each.lengths[pair[1]]]
    if unlike:
        found["longer_wins_by_labelers"] = _share(unlike, lambda each, i, j: float(each.lengths[i] > each.lengths[j]))
        found["longer_wins_by_model"] = _share(unlike, _model_prefers_longer)
    like = [(each, (i, j)) for each, (i, j) in _pairs(judged) if _are_alike(each.lengths[i], each.lengths[j])]
    if like:
        found["like_length_accuracy"] = _share(like, lambda each, i, j: _win(each.scores[i] - each.scores[j]))
        found["like_length_pairs"] = float(len(like))
    return found


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rank correlation, equal values sharing their mean rank; none where either never varies."""
    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return float(np.corrcoef(_mean_ranks(first), _mean_ranks(second))[0, 1])


def _mean_ranks(values: Sequence[float]) -> np.ndarray:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (count.cumsum() - (count - 1) / 2)[place]


def _pairs(judged: Sequence[Judged]) -> Iterator[tuple[Judged, tuple[int, int]]]:
    return ((each, pair) for each in judged for pair in each.pairs)


def _share(pairs: Sequence[tuple[Judged, tuple[int, int]]], counts: Callable[[Judged, int, int], float]) -> float:
    return sum(counts(each, winner, loser) for each, (winner, loser) in pairs) / len(pairs)


def _win(margin: float) -> float:
    """1, or one half for equal scores."""
    return float(margin > 0) + 0.5 * (margin == 0)


def _model_prefers_longer(each: Judged, i: int, j: int) -> float:
    margin = each.scores[i] - each.scores[j]
    return _win(margin if each.lengths[i] > each.lengths[j] else -margin)


def _are_alike(first: int, second: int) -> bool:
    return abs(first - second) <= LIKE_LENGTHS * max(first, second)
