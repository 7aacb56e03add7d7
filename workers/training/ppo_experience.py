"""One iteration's episodes: completions drawn from the policy, and every number that the update needs of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.runs.configs import PpoConfig
from workers.rlhf.ensemble import combine_scores
from workers.rlhf.gae import estimate_advantages, whiten
from workers.rlhf.kl import KL_ESTIMATORS, kl_k1, kl_k2, kl_k3
from workers.rlhf.ppo_losses import explained_variance, per_token_rewards
from workers.training.batching import micro_batches
from workers.training.models import autocast
from workers.training.ppo_networks import Networks, Rows, stack_rows
from workers.training.processes import add_up, share
from workers.training.rollout import Decoding, Drawn, draw_together


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
    eos_id: int,
) -> Experience:
    """Play one episode for each prompt; `uniforms` (N, 1, max_new_tokens) decide what is drawn.

    Several processes share the drawing and the measuring; each then holds all episodes, so that what is taken over
    the batch (whitening, means, KL) is taken over the whole of it.
    """
    # 1. Completions from the policy as it is now, at the rollout temperature, and their log-probabilities.
    with torch.no_grad(), autocast(config.precision):
        drawn = [only for (only,) in draw_together(networks.policy, prompts, uniforms, decoding=decoding)]

    # 2. Log-probabilities under the reference, values, and one score an episode.
    completions = [episode.tokens for episode in drawn]
    mask = length_mask([len(tokens) for tokens in completions], device=networks.policy.device)  # (N, T)
    logprobs = drawn_logprobs(drawn, mask)
    judged = [as_judged(episode, eos_id) for episode in drawn]
    measured = measure(networks, prompts, completions, judged, mask, config=config)
    if measured.logprobs is not None:
        logprobs = measured.logprobs

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
        measured.scores, measured.spread, measured.watch_scores, missing_eos,
    )  # fmt: skip


@dataclass(slots=True)
class Measured:
    """What the networks say of the episodes: (N, T) for tokens, (N,) for scores."""

    logprobs: Tensor | None  # None: those noted while drawing are exact
    ref_logprobs: Tensor
    values: Tensor
    scores: Tensor
    spread: Tensor
    watch_scores: Tensor | None

    def all(self) -> tuple[Tensor | None, ...]:
        return self.logprobs, self.ref_logprobs, self.values, self.scores, self.spread, self.watch_scores


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
    rounds = config.precision == "bf16"  # there a decoding step and a whole pass round differently
    measured = Measured(
        logprobs=tokens.clone() if rounds else None,
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
            if measured.logprobs is not None:
                logprobs = networks.logprobs(rows, temperature=config.temperature)
                measured.logprobs[piece] = scatter(logprobs, mask[piece])
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
