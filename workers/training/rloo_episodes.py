"""RLOO's networks, prompts and episodes: k completions of each prompt, and every number an update needs of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from app.datasets.examples import Prompt
from app.runs.newer_configs import RlooConfig
from workers.rlhf.rloo import leave_one_out, sequence_rewards
from workers.training.adapters import add_lora, lora_off
from workers.training.batching import decode_completion, encode_prompt, micro_batches
from workers.training.completion_logprobs import completion_logprobs
from workers.training.limits import refuse_if_most_left_out, require_room
from workers.training.loop import CannotTrain
from workers.training.models import RewardModel, autocast, context_of, load_policy, load_reward_model
from workers.training.ppo_experience import as_judged, repeated_share
from workers.training.processes import add_up, share
from workers.training.rollout import Decoding, draw_together, uniform_numbers

Group = list[list[int]]  # one prompt's completions, as tokens


@dataclass(frozen=True, slots=True)
class Networks:
    policy: PreTrainedModel
    reference: PreTrainedModel | None  # None: the policy with its adapters off
    reward: RewardModel
    watch: RewardModel | None

    def logprobs(self, prompts: Sequence[list[int]], groups: Sequence[Group], *, temperature: float) -> Tensor:
        """log pi of every completion under the policy: (N,)."""
        return completion_logprobs(self.policy, prompts, groups, temperature=temperature)

    @torch.no_grad()
    def ref_logprobs(self, prompts: Sequence[list[int]], groups: Sequence[Group], *, temperature: float) -> Tensor:
        """The same under the policy that training started from: (N,)."""
        if self.reference is not None:
            return completion_logprobs(self.reference, prompts, groups, temperature=temperature)
        with lora_off(self.policy):
            return completion_logprobs(self.policy, prompts, groups, temperature=temperature)


def load_networks(config: RlooConfig, policy: Path, reward_model: Path, watch: Path | None) -> Networks:
    """All in evaluation mode: dropout would move ratios and rewards. Only the policy trains."""
    networks = Networks(
        load_policy(policy), None if config.lora_rank else load_policy(policy), load_reward_model(reward_model),
        load_reward_model(watch) if watch else None,
    )  # fmt: skip
    for frozen in (networks.reference, networks.reward, networks.watch):
        if frozen is not None:
            frozen.requires_grad_(False)
    if config.lora_rank:
        add_lora(networks.policy, config.lora_rank)
        networks.policy.eval()
    return networks


@dataclass(frozen=True, slots=True)
class Data:
    prompts: list[list[int]]
    looked_at: list[tuple[str, list[int]]]  # what is shown of a prompt, and its tokens
    held_out: bool  # whether those are validation prompts
    left_out: int
    tokenizer: PreTrainedTokenizerBase


def prepare(
    config: RlooConfig, prompts: Sequence[Prompt], networks: Networks, tokenizer: PreTrainedTokenizerBase
) -> Data:
    """Encode prompts; leave out and count those that are too long; refuse what cannot train."""
    if not any(prompt.split == "train" for prompt in prompts):
        raise CannotTrain("There are no prompts in the train split. Write some, or import them, first.")
    bodies = [networks.policy, networks.reward.body, *([networks.watch.body] if networks.watch else [])]
    context = min(context_of(body.config) for body in bodies)
    require_room(config, context)
    used = [(p, encode_prompt(tokenizer, p.messages)) for p in prompts if p.split in ("train", "valid")]
    kept = [(p, tokens) for p, tokens in used if len(tokens) <= config.max_prompt_tokens]
    lengths = [(len(tokens), config.max_completion_tokens) for _, tokens in used]
    refuse_if_most_left_out(config, lengths, len(used) - len(kept), what="prompts", context=context)
    train, valid = ([(p, t) for p, t in kept if p.split == split] for split in ("train", "valid"))
    if not train:
        raise CannotTrain("Every prompt of the train split is longer than max_prompt_tokens.")
    looked_at = [(p.messages[-1]["content"], tokens) for p, tokens in (valid or train)[: config.evaluation_prompts]]
    return Data([tokens for _, tokens in train], looked_at, bool(valid), len(used) - len(kept), tokenizer)


@dataclass(frozen=True, slots=True)
class Episodes:
    """M prompts with k completions each; numbers are (M, k)."""

    prompts: list[list[int]]
    completions: list[Group]
    logprobs: Tensor
    advantages: Tensor


@torch.no_grad()
def play(
    config: RlooConfig,
    networks: Networks,
    prompts: list[list[int]],
    uniforms: Tensor,
    *,
    decoding: Decoding,
    eos_id: int,
) -> tuple[Episodes, dict[str, float]]:
    """Draw k completions of each prompt and measure them; `uniforms` (M, k, max_new_tokens) decide what is drawn."""
    # 1. Completions from the policy as it is now, and their log-probabilities at the rollout temperature.
    with autocast(config.precision):
        drawn = draw_together(networks.policy, prompts, uniforms, decoding=decoding)
    completions = [[each.tokens for each in group] for group in drawn]
    judged = [[as_judged(each, eos_id) for each in group] for group in drawn]
    heat = config.temperature
    if config.precision == "bf16":  # there a decoding step and a whole pass round differently
        logprobs = measured(config, prompts, completions, lambda p, g: networks.logprobs(p, g, temperature=heat))
    else:
        logprobs = torch.tensor([[sum(each.logprobs) for each in group] for group in drawn])

    # 2. The same under the reference, and one score a completion, its end token set as in the rankings.
    ref_logprobs = measured(config, prompts, completions, lambda p, g: networks.ref_logprobs(p, g, temperature=heat))
    scores = measured(config, prompts, judged, networks.reward.score_completions)

    # 3. Rewards of whole completions, and what each is above the others of its prompt.
    ended = torch.tensor([[each.ended for each in group] for group in drawn])
    rewards = sequence_rewards(
        scores.flatten(), logprobs.flatten(), ref_logprobs.flatten(), kl_coefficient=config.kl_coefficient,
        missing_eos=~ended.flatten(), missing_eos_penalty=config.missing_eos_penalty,
    ).view_as(scores)  # fmt: skip
    tokens = torch.tensor([[len(each) for each in group] for group in completions]).float()
    metrics = {
        "reward": scores.mean(), "kl": (logprobs - ref_logprobs).mean(), "length": tokens.mean(),
        "eos_share": ended.float().mean(), "entropy": -logprobs.sum() / tokens.sum(),
        "group_spread": scores.std(dim=1, unbiased=False).mean(),
        "repetition": torch.tensor([repeated_share(each) for group in completions for each in group]).mean(),
    }  # fmt: skip
    if networks.watch is not None:
        metrics["reward_watch"] = measured(config, prompts, judged, networks.watch.score_completions).mean()
    episodes = Episodes(prompts, completions, logprobs, leave_one_out(rewards))
    return episodes, {name: float(value) for name, value in metrics.items()}


def measured(
    config: RlooConfig,
    prompts: Sequence[list[int]],
    groups: Sequence[Group],
    measure: Callable[[list[list[int]], list[Group]], Tensor],
) -> Tensor:
    """A number for every completion, a few prompts of like length at a time: (M, k) on the CPU."""
    found = torch.zeros(len(prompts), len(groups[0]))
    by_length = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]) - sum(map(len, groups[i])))
    for piece in micro_batches(share(by_length), prompts_at_once(config, len(groups[0]))):
        with autocast(config.precision):
            numbers = measure([prompts[i] for i in piece], [groups[i] for i in piece])
        found[piece] = numbers.float().cpu().view(len(piece), -1)
    add_up([found])  # each process has 0 where others measured
    return found


def prompts_at_once(config: RlooConfig, k: int) -> int:
    return max(1, config.micro_batch_size // k)


def look(config: RlooConfig, networks: Networks, data: Data, *, decoding: Decoding) -> dict[str, Any]:
    """One completion of each prompt to look at, by the same chances each time: texts, rewards and their means."""
    prompts = [tokens for _, tokens in data.looked_at]
    uniforms = uniform_numbers(config.seed, "look", shape=(len(prompts), 1, decoding.max_new_tokens))
    with torch.no_grad(), autocast(config.precision):
        drawn = draw_together(networks.policy, prompts, uniforms, decoding=decoding)
    judged = [[as_judged(each, data.tokenizer.eos_token_id) for each in group] for group in drawn]
    with torch.no_grad():
        rewards = measured(config, prompts, judged, networks.reward.score_completions).flatten()
        metrics: dict[str, float] = {}
        if data.held_out:
            metrics = {"valid_reward": float(rewards.mean())}
            metrics["valid_eos_share"] = sum(only.ended for (only,) in drawn) / len(drawn)
            if networks.watch is not None:
                watched = measured(config, prompts, judged, networks.watch.score_completions)
                metrics["valid_reward_watch"] = float(watched.mean())
    texts = [decode_completion(data.tokenizer, only.tokens) for (only,) in drawn]
    return {"texts": texts, "rewards": rewards.tolist(), "metrics": metrics}
