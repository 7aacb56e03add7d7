"""One reward from several reward models, so that no single one's mistakes are worth finding (Coste et al. 2023)."""

from typing import Literal

from torch import Tensor

Ensemble = Literal["mean", "min", "mean_minus_variance"]


def combine_scores(scores: Tensor, how: Ensemble, *, penalty: float) -> Tensor:
    """Scores (M, B) of M reward models -> (B,): their mean, the worst, or mean - penalty * variance over the models.

    Section 3 of arXiv 2310.02743: mean, worst-case and uncertainty-weighted optimisation, whose variance divides by M.
    """
    assert scores.ndim == 2, "scores are (models, episodes)"
    if how == "min":
        return scores.amin(dim=0)
    mean = scores.mean(dim=0)
    if how == "mean":
        return mean
    return mean - penalty * scores.var(dim=0, unbiased=False)
