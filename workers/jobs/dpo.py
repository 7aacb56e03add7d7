"""A DPO run: rankings and an SFT model in, a policy out."""

from app.registry.models import ModelKind
from workers.jobs.claimed import Claimed
from workers.jobs.storing import store_model
from workers.jobs.together import train
from workers.training.loop import Outcome


def work(claimed: Claimed) -> Outcome:
    claimed.note("Loading the model")
    outcome = train(
        claimed, "dpo", list(claimed.examples("comparisons")), base=claimed.model_folder("base"),
        out=claimed.out, checkpoints=claimed.checkpoints,
    )  # fmt: skip
    if outcome.finished:
        store_model(claimed, ModelKind.policy, outcome.metrics)
    return outcome
