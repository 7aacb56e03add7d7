"""A PPO or PPO-ptx run: a policy, a reward model and prompts in, a better policy out."""

from app.registry.models import ModelKind
from app.runs.ppo_config import PpoConfig
from app.runs.schemas import ENSEMBLE
from workers.jobs.claimed import Claimed
from workers.jobs.sampling_desk import QueueDesk
from workers.jobs.storing import store_model
from workers.jobs.together import train
from workers.training.loop import Outcome


def work(claimed: Claimed) -> Outcome:
    config = claimed.config
    assert isinstance(config, PpoConfig)
    claimed.note("Loading the models")
    desk = QueueDesk(claimed) if config.sampling_workers else None
    outcome = train(
        claimed, "ppo", list(claimed.examples("prompts")), policy=claimed.model_folder("policy"),
        reward_model=claimed.model_folder("reward_model"), out=claimed.out, checkpoints=claimed.checkpoints,
        texts=claimed.examples("texts"), watch=claimed.optional_folder("watch"),
        others=[claimed.model_folder(part) for part in ENSEMBLE if part in claimed.models],
        rollouts=desk.folder if desk else None, desk=desk,
    )  # fmt: skip
    if outcome.finished:
        store_model(claimed, ModelKind.policy, outcome.metrics)
        if desk:
            desk.clear_up()
    return outcome
