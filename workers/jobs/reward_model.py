"""A reward-model run: rankings and an SFT model in, a reward model out."""

from app.registry.models import ModelKind
from workers.jobs.claimed import Claimed
from workers.jobs.storing import store_model
from workers.training.loop import Outcome


def work(claimed: Claimed) -> Outcome:
    claimed.note("Loading the model")
    from workers.training.reward_model import train

    outcome = train(
        claimed.config, list(claimed.examples("comparisons")), claimed, base=claimed.model_folder("base"),
        out=claimed.out, checkpoints=claimed.checkpoints, demonstrations=list(claimed.examples("demonstrations")),
    )  # fmt: skip
    if outcome.finished:
        store_model(claimed, ModelKind.reward, outcome.metrics)
    return outcome
