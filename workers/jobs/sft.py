"""An SFT run: demonstrations and a base model in, an SFT model out."""

from app.registry.models import ModelKind
from workers.jobs.claimed import Claimed
from workers.jobs.storing import store_model
from workers.jobs.together import train
from workers.training.loop import Outcome


def work(claimed: Claimed) -> Outcome:
    claimed.note("Loading the model")
    outcome = train(
        claimed, "sft", list(claimed.examples("demonstrations")), base=claimed.model_folder("base"),
        out=claimed.out, checkpoints=claimed.checkpoints, texts=claimed.examples("texts"),
        reward_model=claimed.optional_folder("reward_model"),
    )  # fmt: skip
    if outcome.finished:
        store_model(claimed, ModelKind.sft, outcome.metrics)
    return outcome
