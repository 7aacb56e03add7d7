"""A PPO or PPO-ptx run: a policy, a reward model and prompts in, a better policy out."""

from app.registry.models import ModelKind
from app.runs.schemas import ENSEMBLE
from workers.jobs.claimed import Claimed
from workers.jobs.storing import store_model
from workers.jobs.together import train
from workers.training.loop import Outcome


def work(claimed: Claimed) -> Outcome:
    claimed.note("Loading the models")
    outcome = train(
        claimed, "ppo", list(claimed.examples("prompts")), policy=claimed.model_folder("policy"),
        reward_model=claimed.model_folder("reward_model"), out=claimed.out, checkpoints=claimed.checkpoints,
        texts=claimed.examples("texts"), watch=claimed.optional_folder("watch"),
        others=[claimed.model_folder(part) for part in ENSEMBLE if part in claimed.models],
    )  # fmt: skip
    if outcome.finished:
        store_model(claimed, ModelKind.policy, outcome.metrics)
    return outcome
