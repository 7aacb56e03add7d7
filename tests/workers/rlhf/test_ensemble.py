"""One reward from several reward models, against a slow loop."""

from statistics import fmean, pvariance

import pytest
import torch

from workers.rlhf.ensemble import combine_scores

pytestmark = pytest.mark.train

SLOW = {
    "mean": lambda scores: fmean(scores),
    "min": lambda scores: min(scores),
    "mean_minus_variance": lambda scores: fmean(scores) - 0.7 * pvariance(scores),
}


@pytest.mark.parametrize("how", SLOW)
@pytest.mark.parametrize("models", [1, 2, 5])
def test_each_way_equals_a_loop_over_episodes(how: str, models: int) -> None:
    scores = torch.randn(models, 6, generator=torch.Generator().manual_seed(models))
    expected = [SLOW[how](column) for column in scores.T.tolist()]
    assert combine_scores(scores, how, penalty=0.7).tolist() == pytest.approx(expected, abs=1e-6)


def test_disagreement_costs_only_where_there_is_some() -> None:
    scores = torch.tensor([[1.0, 0.0], [1.0, 2.0]])
    assert combine_scores(scores, "mean", penalty=9).tolist() == [1, 1]
    assert combine_scores(scores, "mean_minus_variance", penalty=9).tolist() == [1, -8]
    assert combine_scores(scores, "mean_minus_variance", penalty=0).tolist() == [1, 1]
