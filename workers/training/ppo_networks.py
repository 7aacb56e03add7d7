"""PPO's networks: policy, its frozen reference, value network and frozen reward models, and what each computes.

With adapters (`lora_rank` above 0) policy and reference are one set of weights: the reference is the policy with its
adapters off. A reward model that was saved with its adapters unmerged gives the value network its adapters to start
from, and if it was trained on the policy's own weights, all four are adapters and heads on these. Any other reward
model brings its own weights, which the value network shares with it: value is then the reward model with adapters.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from workers.rlhf.masking import completion_targets
from workers.training.adapters import add_lora, has_lora, lora_off, share_weights
from workers.training.batching import pad
from workers.training.heads import body_and_head, hidden_at, token_logprobs
from workers.training.models import RewardModel, load_policy, load_reward_model


@dataclass(frozen=True, slots=True)
class Rows:
    """Conversations of one forward pass, padded on the right, where causality keeps padding out of sight."""

    ids: Tensor  # (B, T)
    predicts: Tensor  # (B, T) bool, positions whose next token belongs to the completion; n of them
    targets: Tensor  # (n,) those next tokens, row by row
    last: Tensor  # (B,) index of the last real token


def stack_rows(prompts: Sequence[list[int]], completions: Sequence[list[int]], *, device: torch.device) -> Rows:
    ids, mask = pad([p + c for p, c in zip(prompts, completions, strict=True)], value=0)
    lengths = [(len(p), len(c)) for p, c in zip(prompts, completions, strict=True)]
    predicts = completion_targets(lengths, ids.shape[1])
    targets = ids[:, 1:][predicts[:, :-1]]
    return Rows(ids.to(device), predicts.to(device), targets.to(device), (mask.sum(dim=1) - 1).to(device))


@dataclass(slots=True)
class Networks:
    policy: PreTrainedModel
    value: RewardModel
    reference: PreTrainedModel | None  # None: the policy with its adapters off
    reward: RewardModel | None  # None: the value network with its adapters off, under `reward_head`
    reward_head: nn.Linear
    watch: RewardModel | None
    others: tuple[RewardModel, ...] = ()  # of the ensemble, beside `reward`

    def logprobs(self, rows: Rows, *, temperature: float) -> Tensor:
        """log pi of each completion token under the policy: (n,)."""
        return completion_logprobs(self.policy, rows, temperature=temperature)

    @torch.no_grad()
    def ref_logprobs(self, rows: Rows, *, temperature: float) -> Tensor:
        """The same under the policy that training started from: (n,)."""
        if self.reference is not None:
            return completion_logprobs(self.reference, rows, temperature=temperature)
        with lora_off(self.policy):
            return completion_logprobs(self.policy, rows, temperature=temperature).detach()

    def values(self, rows: Rows) -> Tensor:
        """What the value network expects before each completion token is written: (n,)."""
        hidden = hidden_at(self.value.body, rows.predicts, input_ids=rows.ids)  # (n, d)
        return self.value.head(hidden).squeeze(-1).float() + self.value.bias

    @torch.no_grad()
    def scores(self, rows: Rows) -> Tensor:
        """Each reward model's score of each whole conversation, its bias added: (M, B)."""
        if self.reward is not None:
            first = last_token_scores(self.reward.body, self.reward.head, rows) + self.reward.bias
        else:
            with lora_off(self.value):
                first = last_token_scores(self.value.body, self.reward_head, rows).detach() + self.value.bias
        return torch.stack([first, *(last_token_scores(o.body, o.head, rows) + o.bias for o in self.others)])

    @torch.no_grad()
    def watch_scores(self, rows: Rows) -> Tensor:
        assert self.watch is not None, "there is no second reward model"
        return last_token_scores(self.watch.body, self.watch.head, rows) + self.watch.bias


def load_networks(
    policy: Path, reward_model: Path, *, watch: Path | None, lora_rank: int, others: Sequence[Path] = ()
) -> Networks:
    """Value starts as the reward model, head and bias included (Ouyang et al. 2022, C.4); dropout is off in all."""
    value = load_reward_model(reward_model, merge=not lora_rank)
    adapted = has_lora(value)  # the reward model's own adapters, where the value network's start
    networks = Networks(
        policy=load_policy(policy),
        value=value,
        reference=None if lora_rank else load_policy(policy),
        reward=load_reward_model(reward_model, merge=not lora_rank) if adapted or not lora_rank else None,
        reward_head=copy.deepcopy(value.head).requires_grad_(False),
        watch=load_reward_model(watch, merge=not lora_rank) if watch else None,
        others=tuple(load_reward_model(path, merge=not lora_rank) for path in others),
    )
    frozen = [networks.reference, networks.reward, networks.watch, *networks.others]
    for network in frozen:
        if network is not None:
            network.requires_grad_(False).eval()
    if lora_rank:
        add_lora(networks.policy, lora_rank)
        if not adapted:
            add_lora(value, lora_rank)
        value.head.requires_grad_(True)
        owners = [networks.policy]
        for network in (value, networks.reward, networks.watch, *networks.others):
            if network is not None:
                for owner in owners:
                    share_weights(network, owner)
                owners.append(network)
    networks.policy.eval()
    value.eval()
    return networks


def completion_logprobs(model: PreTrainedModel, rows: Rows, *, temperature: float) -> Tensor:
    body, head = body_and_head(model)
    hidden = hidden_at(body, rows.predicts, input_ids=rows.ids)  # (n, d)
    return token_logprobs(head, hidden, rows.targets, temperature=temperature)


def last_token_scores(body: nn.Module, head: nn.Module, rows: Rows) -> Tensor:
    at_last = torch.zeros_like(rows.predicts)
    at_last[torch.arange(len(rows.last), device=at_last.device), rows.last] = True
    return head(hidden_at(body, at_last, input_ids=rows.ids)).squeeze(-1).float()


@contextmanager
def other_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside the block the named parameters are `weights`; after it they are what they were, bit for bit."""
    parameters = dict(model.named_parameters())
    own = {name: parameters[name].data for name in weights}
    for name, tensor in weights.items():
        parameters[name].data = tensor
    try:
        yield
    finally:
        for name, tensor in own.items():
            parameters[name].data = tensor
