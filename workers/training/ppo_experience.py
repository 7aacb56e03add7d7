"""One iteration's episodes: completions drawn from the policy, and every number that the update needs of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from app.runs.ppo_config import PpoConfig
from workers.rlhf.ensemble import combine_scores
from workers.rlhf.gae import estimate_advantages, whiten
from workers.rlhf.kl import KL_ESTIMATORS, kl_k1, kl_k2, kl_k3
from workers.rlhf.ppo_losses import explained_variance, per_token_rewards
from workers.training.batching import micro_batches
from workers.training.models import autocast
from workers.training.ppo_networks import Networks, Rows, completion_logprobs, stack_rows
from workers.training.processes import add_up, gathered, share
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
    spread: Tensor  # (N,) standard deviation of the reward models' scores
    watch_scores: Tensor | None  # (N,)
    missing_eos: Tensor  # (N,) bool
    versions: list[int]  # iterations that the policy which drew each had finished

    def rows(self, episodes: Sequence[int]) -> Rows:
        prompts, completions = [self.prompts[i] for i in episodes], [self.completions[i] for i in episodes]
        return stack_rows(prompts, completions, device=self.mask.device)


def draw_by_all(
    policy: PreTrainedModel, prompts: list[list[int]], uniforms: Tensor, *, config: PpoConfig, decoding: Decoding
) -> list[Drawn]:
    """`draw_episodes` with the prompts shared among the processes; each then holds all episodes.

    So what is taken over the batch (whitening, means, KL) is taken over the whole of it.
    """
    own = share(range(len(prompts)))
    few = [prompts[i] for i in own]
    return gathered(draw_episodes(policy, few, uniforms[own], config=config, decoding=decoding) if few else [])


@torch.no_grad()
def draw_episodes(
    policy: PreTrainedModel, prompts: list[list[int]], uniforms: Tensor, *, config: PpoConfig, decoding: Decoding
) -> list[Drawn]:
    """One completion of each prompt from the policy as it is now, at the rollout temperature.

    Their log-probabilities are those that the update's ratio starts from, so they must be of these very weights.
    """
    with autocast(config.precision):
        drawn = [only for (only,) in draw_completions(policy, prompts, uniforms, decoding=decoding)]
        if config.precision == "bf16":  # there a decoding step and a whole pass round differently
            measure_again(policy, prompts, drawn, config=config)
    return drawn


def measure_again(
    policy: PreTrainedModel, prompts: list[list[int]], drawn: Sequence[Drawn], *, config: PpoConfig
) -> None:
    """Notes each token's log-probability as a pass over the whole episode gives it."""
    completions = [episode.tokens for episode in drawn]
    for piece in micro_batches(by_length(prompts, completions), config.micro_batch_size):
        own = [completions[i] for i in piece]
        rows = stack_rows([prompts[i] for i in piece], own, device=policy.device)
        logprobs = completion_logprobs(policy, rows, temperature=config.temperature)
        for i, of_episode in zip(piece, logprobs.split([len(tokens) for tokens in own]), strict=True):
            drawn[i].logprobs = of_episode.tolist()


def as_experience(
    networks: Networks,
    prompts: list[list[int]],
    drawn: Sequence[Drawn],
    versions: Sequence[int],
    *,
    config: PpoConfig,
    kl_coefficient: float,
    eos_id: int,
) -> Experience:
    """What was drawn for each prompt, measured and rewarded; `versions` say which policy drew each."""
    # 1. The completions, and their log-probabilities under the policy that drew them.
    completions = [episode.tokens for episode in drawn]
    mask = length_mask([len(tokens) for tokens in completions], device=networks.policy.device)  # (N, T)
    logprobs = drawn_logprobs(drawn, mask)

    # 2. Log-probabilities under the reference, values, and one score an episode.
    judged = [as_judged(episode, eos_id) for episode in drawn]
    measured = measure(networks, prompts, completions, judged, mask, config=config)

    # 3. Rewards: -beta * KL at each token, the score at the last one, less the penalty for not having ended.
    missing_eos = torch.tensor([not episode.ended for episode in drawn], device=mask.device)
    rewards = per_token_rewards(
        measured.scores,
        KL_ESTIMATORS[config.kl_estimator](logprobs, measured.ref_logprobs),
        mask,
        kl_coefficient=kl_coefficient,
        missing_eos=missing_eos,
        missing_eos_penalty=config.missing_eos_penalty,
    )
    if config.whiten_rewards:
        rewards = whiten(rewards, mask, shift_mean=False)

    # 4. Advantages and returns; the advantages whitened over all episodes of the iteration.
    advantages, returns = estimate_advantages(
        rewards, measured.values, mask, discount=config.gamma, gae_lambda=config.gae_lambda
    )
    if config.whiten_advantages:
        advantages = whiten(advantages, mask)
    return Experience(
        prompts, completions, mask, logprobs, measured.ref_logprobs, measured.values, advantages, returns,
        measured.scores, measured.spread, measured.watch_scores, missing_eos, list(versions),
    )  # fmt: skip


@dataclass(slots=True)
class Measured:
    """What the networks say of the episodes: (N, T) for tokens, (N,) for scores."""

    ref_logprobs: Tensor
    values: Tensor
    scores: Tensor
    spread: Tensor
    watch_scores: Tensor | None

    def all(self) -> tuple[Tensor | None, ...]:
        return self.ref_logprobs, self.values, self.scores, self.spread, self.watch_scores


@torch.no_grad()
def measure(
    networks: Networks,
    prompts: list[list[int]],
    completions: list[list[int]],
    judged: list[list[int]],
    mask: Tensor,
    *,
    config: PpoConfig,
) -> Measured:
    """`judged` are the completions as the reward model reads them."""
    tokens, scores = torch.zeros(mask.shape, device=mask.device), torch.zeros(len(mask), device=mask.device)
    measured = Measured(
        ref_logprobs=tokens.clone(),
        values=tokens,
        scores=scores,
        spread=scores.clone(),
        watch_scores=scores.clone() if networks.watch else None,
    )
    for piece in micro_batches(share(by_length(prompts, completions)), config.micro_batch_size):
        rows = stack_rows([prompts[i] for i in piece], [completions[i] for i in piece], device=mask.device)
        with autocast(config.precision):
            ref_logprobs = networks.ref_logprobs(rows, temperature=config.temperature)
            measured.ref_logprobs[piece] = scatter(ref_logprobs, mask[piece])
            measured.values[piece] = scatter(networks.values(rows), mask[piece])
            whole = stack_rows([prompts[i] for i in piece], [judged[i] for i in piece], device=mask.device)
            each = networks.scores(whole)  # (M, B)
            measured.scores[piece] = combine_scores(each, config.ensemble, penalty=config.ensemble_penalty)
            measured.spread[piece] = each.std(dim=0, unbiased=False)
            if measured.watch_scores is not None:
                measured.watch_scores[piece] = networks.watch_scores(whole)
    add_up(tensor for tensor in measured.all() if tensor is not None)  # each process has 0 where others measured
    return measured


def as_judged(drawn: Drawn, eos_id: int) -> list[int]:
    """A completion with the end token that reward models were trained on, also where it was cut off or ended otherwise.

    A score read anywhere else is one that no ranking ever taught, and PPO finds completions for which it is high.
    """
    return [*(drawn.tokens[:-1] if drawn.ended else drawn.tokens), eos_id]


def repeated_share(tokens: Sequence[int]) -> float:
    """How many of a completion's runs of three tokens it had said before."""
    runs = list(zip(tokens, tokens[1:], tokens[2:], strict=False))
    return 1.0 - len(set(runs)) / len(runs) if runs else 0.0


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


def experience_metrics(experience: Experience, *, estimator: str = "k1") -> dict[str, float]:
    """Means over the iteration's episodes; KL in nats an episode, entropy in nats a token.

    `estimator` is the one that is penalised; k1 and k3 are always told.
    """
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
        "repetition": torch.tensor([repeated_share(tokens) for tokens in experience.completions]).mean(),
    }
    if estimator == "k2":
        metrics["kl_k2"] = (kl_k2(experience.logprobs, experience.ref_logprobs) * mask).sum(dim=1).mean()
    if bool(experience.spread.any()):
        metrics["reward_spread"] = experience.spread.mean()
    if experience.watch_scores is not None:
        metrics["reward_watch"] = experience.watch_scores.mean()
    return {name: float(value) for name, value in metrics.items()} | {
        "explained_variance": explained_variance(experience.values, experience.returns, mask)
    }


def staleness(experience: Experience, *, iteration: int) -> dict[str, float]:
    """By how many iterations the policies that drew the episodes are older than the one that learns from them."""
    ages = [float(iteration - version) for version in experience.versions]
    return {"staleness": sum(ages) / len(ages), "staleness_max": max(ages)}
