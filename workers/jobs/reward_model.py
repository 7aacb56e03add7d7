"""A reward-model run: rankings and an SFT model in, a reward model or several out."""

from app.registry.models import ModelKind
from workers.jobs.claimed import Claimed
from workers.jobs.storing import store_models
from workers.jobs.together import train
from workers.training.loop import Outcome


def work(claimed: Claimed) -> Outcome:
    claimed.note("Loading the model")
    from workers.training.reward_model import member_folders

    outcome = train(
        claimed, "reward_model", list(claimed.examples("comparisons")), base=claimed.model_folder("base"),
        out=claimed.out, checkpoints=claimed.checkpoints, demonstrations=list(claimed.examples("demonstrations")),
    )  # fmt: skip
    if outcome.finished:
        figures = outcome.report.get("members") or [outcome.metrics | outcome.report]
        made = zip(member_folders(claimed.config, claimed.out), figures, strict=True)
        store_models(claimed, ModelKind.reward, list(made), result=outcome.metrics)
    return outcome
