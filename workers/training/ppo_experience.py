"""One iteration's episodes: completions drawn from the policy, and every number that the update needs of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.runs.configs import PpoConfig
from workers.rlhf.gae import estimate_advantages, whiten
from workers.rlhf.kl import KL_ESTIMATORS, kl_k1, kl_k3
from workers.rlhf.ppo_losses import explained_variance, per_token_rewards
from workers.training.batching import micro_batches
from workers.training.models import autocast
from workers.training.ppo_networks import Networks, Rows, stack_rows
from workers.training.rollout import Decoding, Drawn, draw_completions


@dataclass(slots=True)
class Experience:
    """N episodes of at most T completion tokens. Token tensors are (N, T), filled from the left, 0 beyond."""

    prompts: list[list[int]]
    completions: list[list[int]]
    mask: Tensor  # bool
    logprobs: Tensor
    ref_logprobs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    scores: Tensor  # (N,)
    watch_scores: Tensor | None  # (N,)
    missing_eos: Tensor  # (N,) bool

    def rows(self, episodes: Sequence[int]) -> Rows:
        prompts, completions = [self.prompts[i] for i in episodes], [self.completions[i] for i in episodes]
        return stack_rows(prompts, completions, device=self.mask.device)


def collect(
    networks: Networks,
    prompts: list[list[int]],
    uniforms: Tensor,
    *,
    config: PpoConfig,
    decoding: Decoding,
    kl_coefficient: float,
) -> Experience:
    """Play one episode for each prompt; `uniforms` (N, 1, max_new_tokens) decide what is drawn."""
    device = networks.policy.device
    with torch.no_grad(), autocast(config.precision):
        # 1. Completions from the policy as it is now, at the rollout temperature, and their log-probabilities.
        drawn = [only for (only,) in draw_completions(networks.policy, prompts, uniforms, decoding=decoding)]
        completions = [episode.tokens for episode in drawn]
        mask = length_mask([len(tokens) for tokens in completions], device=device)  # (N, T)

        # 2. Log-probabilities under the reference, values, and one score an episode.
        def for_each_token(compute: Callable[[Rows], Tensor]) -> Tensor:
            flat = torch.zeros(mask.shape, device=device)
            for episodes in pieces:
                flat[episodes] = scatter(compute(rows_of(episodes)), mask[episodes])
            return flat

        def for_each_episode(compute: Callable[[Rows], Tensor]) -> Tensor:
            scores = torch.zeros(len(prompts), device=device)
            for episodes in pieces:
                scores[episodes] = compute(rows_of(episodes))
            return scores

        def rows_of(episodes: list[int]) -> Rows:
            return stack_rows([prompts[i] for i in episodes], [completions[i] for i in episodes], device=device)

        pieces = micro_batches(by_length(prompts, completions), config.micro_batch_size)
        logprobs = drawn_logprobs(drawn, mask)
        if config.precision == "bf16":  # there a decoding step and a whole pass round differently
            logprobs = for_each_token(lambda rows: networks.logprobs(rows, temperature=config.temperature))
        ref_logprobs = for_each_token(lambda rows: networks.ref_logprobs(rows, temperature=config.temperature))
        values = for_each_token(networks.values)
        scores = for_each_episode(networks.scores)
        watch_scores = for_each_episode(networks.watch_scores) if networks.watch else None

        # 3. Rewards: -beta * KL at each token, the score at the last one, less the penalty for not having ended.
        missing_eos = torch.tensor([not episode.ended for episode in drawn], device=device)
        rewards = per_token_rewards(
            scores,
            KL_ESTIMATORS[config.kl_estimator](logprobs, ref_logprobs),
            mask,
            kl_coefficient=kl_coefficient,
            missing_eos=missing_eos,
            missing_eos_penalty=config.missing_eos_penalty,
        )
        if config.whiten_rewards:
            rewards = whiten(rewards, mask, shift_mean=False)

        # 4. Advantages and returns; the advantages whitened over all episodes of the iteration.
        advantages, returns = estimate_advantages(
            rewards, values, mask, discount=config.gamma, gae_lambda=config.gae_lambda
        )
        if config.whiten_advantages:
            advantages = whiten(advantages, mask)
    return Experience(
        prompts=prompts,
        completions=completions,
        mask=mask,
        logprobs=logprobs,
        ref_logprobs=ref_logprobs,
        values=values,
        advantages=advantages,
        returns=returns,
        scores=scores,
        watch_scores=watch_scores,
        missing_eos=missing_eos,
    )


def by_length(prompts: Sequence[list[int]], completions: Sequence[list[int]]) -> list[int]:
    """Episodes from the longest to the shortest, so that those of one forward pass carry little padding."""
    return sorted(range(len(prompts)), key=lambda i: -len(prompts[i]) - len(completions[i]))


def length_mask(lengths: Sequence[int], *, device: torch.device) -> Tensor:
    return torch.arange(max(lengths), device=device) < torch.tensor(lengths, device=device)[:, None]


def scatter(flat: Tensor, mask: Tensor) -> Tensor:
    """(n,) values, row by row, to (B, T), 0 where `mask` is."""
    return torch.zeros(mask.shape, dtype=flat.dtype, device=flat.device).masked_scatter(mask, flat)


def drawn_logprobs(drawn: Sequence[Drawn], mask: Tensor) -> Tensor:
    flat = torch.tensor([logprob for episode in drawn for logprob in episode.logprobs], device=mask.device)
    return scatter(flat, mask)


def experience_metrics(experience: Experience) -> dict[str, float]:
    """Means over the iteration's episodes; KL in nats an episode, entropy in nats a token."""
    mask = experience.mask
    k1 = kl_k1(experience.logprobs, experience.ref_logprobs) * mask
    k3 = kl_k3(experience.logprobs, experience.ref_logprobs) * mask
    metrics = {
        "reward": experience.scores.mean(),
        "kl": k1.sum(dim=1).mean(),
        "kl_k3": k3.sum(dim=1).mean(),
        "length": mask.sum(dim=1).float().mean(),
        "eos_share": 1.0 - experience.missing_eos.float().mean(),
        "entropy": -(experience.logprobs * mask).sum() / mask.sum(),  # of the tokens drawn: no vocabulary needed
    }
    if experience.watch_scores is not None:
        metrics["reward_watch"] = experience.watch_scores.mean()
    return {name: float(value) for name, value in metrics.items()} | {
        "explained_variance": explained_variance(experience.values, experience.returns, mask)
    }
