"""A look at the policy: the same prompts with the same chances each time, scored; and its loss on plain text."""

import random
from dataclasses import dataclass

import torch

from app.runs.ppo_config import PpoConfig
from workers.rlhf.ensemble import combine_scores
from workers.training.batching import decode_completion, micro_batches, text_window
from workers.training.models import autocast
from workers.training.ppo_data import Data
from workers.training.ppo_experience import as_judged
from workers.training.ppo_networks import Networks, stack_rows
from workers.training.ppo_update import text_nll
from workers.training.processes import from_main
from workers.training.rollout import Decoding, draw_completions, uniform_numbers


@dataclass(frozen=True, slots=True)
class Look:
    texts: list[str]
    rewards: list[float]
    metrics: dict[str, float]

    def merit(self) -> float | None:
        """What looks are compared by: the watching reward model if there is one. None: no validation prompts."""
        return self.metrics.get("valid_reward_watch", self.metrics.get("valid_reward"))

    def as_before(self) -> dict[str, float]:
        return {f"{name}_before": value for name, value in self.metrics.items()}


def look(networks: Networks, data: Data, *, config: PpoConfig, decoding: Decoding) -> Look:
    """Sample one completion of each prompt to look at and score it."""
    return from_main(lambda: _look(networks, data, config=config, decoding=decoding))


@torch.no_grad()
def _look(networks: Networks, data: Data, *, config: PpoConfig, decoding: Decoding) -> Look:
    prompts = [said.tokens for said in data.looked_at]
    uniforms = uniform_numbers(config.seed, "look", shape=(len(prompts), 1, decoding.max_new_tokens))
    with autocast(config.precision):
        drawn = [only for (only,) in draw_completions(networks.policy, prompts, uniforms, decoding=decoding)]
        rewards: list[float] = []
        watched: list[float] = []
        for piece in micro_batches(range(len(prompts)), config.micro_batch_size):
            completions = [as_judged(drawn[i], data.tokenizer.eos_token_id) for i in piece]
            rows = stack_rows([prompts[i] for i in piece], completions, device=networks.policy.device)
            scores = networks.scores(rows)
            rewards += combine_scores(scores, config.ensemble, penalty=config.ensemble_penalty).tolist()
            watched += networks.watch_scores(rows).tolist() if networks.watch else []
    metrics = {"text_loss": text_loss(networks, data, config=config)} if data.valid_texts else {}
    if data.held_out:
        metrics["valid_reward"] = sum(rewards) / len(rewards)
        metrics["valid_eos_share"] = sum(episode.ended for episode in drawn) / len(drawn)
        if watched:
            metrics["valid_reward_watch"] = sum(watched) / len(watched)
    return Look([decode_completion(data.tokenizer, episode.tokens) for episode in drawn], rewards, metrics)


def text_loss(networks: Networks, data: Data, *, config: PpoConfig) -> float:
    """Mean -log p a token of the validation texts, each cut to one window that is always the same."""
    rng = random.Random(config.seed)
    windows = [text_window(data.tokenizer, text, config.ptx_tokens, rng) for text in data.valid_texts]
    total = 0.0
    with autocast(config.precision):
        for piece in micro_batches(range(len(windows)), config.micro_batch_size):
            total += float(text_nll(networks.policy, [windows[i] for i in piece]))
    return total / sum(len(window) - 1 for window in windows)
