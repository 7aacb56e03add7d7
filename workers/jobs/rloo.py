"""An RLOO run: a policy, a reward model and prompts in, a better policy out."""

from app.registry.models import ModelKind
from workers.jobs.claimed import Claimed
from workers.jobs.storing import store_model
from workers.training.loop import Outcome


def work(claimed: Claimed) -> Outcome:
    claimed.note("Loading the models")
    from workers.training.rloo import train

    outcome = train(
        claimed.config, list(claimed.examples("prompts")), claimed, policy=claimed.model_folder("policy"),
        reward_model=claimed.model_folder("reward_model"), out=claimed.out, checkpoints=claimed.checkpoints,
        watch=claimed.optional_folder("watch"),
    )  # fmt: skip
    if outcome.finished:
        store_model(claimed, ModelKind.policy, outcome.metrics)
    return outcome
