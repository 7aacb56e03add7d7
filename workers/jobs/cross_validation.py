"""A cross-validation run: rankings of several labelers and an SFT model in, a table of accuracies out, no model."""

from app.runs import service
from workers.jobs.claimed import Claimed
from workers.jobs.patience import patiently
from workers.jobs.together import train
from workers.training.loop import Outcome


def work(claimed: Claimed) -> Outcome:
    claimed.note("Loading the rankings")
    outcome = train(
        claimed, "cross_validation:cross_validate", list(claimed.examples("comparisons")),
        base=claimed.model_folder("base"), checkpoints=claimed.checkpoints,
    )  # fmt: skip
    if outcome.finished:
        result = {**service.finite(outcome.metrics), **outcome.report}
        patiently(lambda session: service.finish(session, claimed.run.id, claim=claimed.claim, result=result))
    return outcome
