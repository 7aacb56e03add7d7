"""PPO's update: clipped losses over minibatches, and plain text's gradient added to the policy's before each step."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from app.runs.ppo_config import PpoConfig
from workers.rlhf.ppo_losses import clipped_policy_loss, clipped_value_loss
from workers.training.batching import even_pieces, micro_batches, pad
from workers.training.checkpoints import trainable
from workers.training.heads import body_and_head, token_logprobs
from workers.training.loop import adamw, clip, move, refuse_nan
from workers.training.models import autocast
from workers.training.ppo_experience import Experience
from workers.training.ppo_networks import Networks
from workers.training.processes import share, summed
from workers.training.recomputing import recomputing

# A pass of so many tokens, padding included, keeps a CPU or a GPU busy; a larger one only carries more padding.
TOKENS_CPU, TOKENS_GPU = 512, 16_384


@dataclass(slots=True)
class Trainee:
    """What an update changes."""

    networks: Networks
    policy_optimizer: torch.optim.Optimizer
    value_optimizer: torch.optim.Optimizer
    ema: dict[str, Tensor]  # empty: none is kept
    steps: int = 0  # optimizer steps taken


@dataclass(slots=True)
class Sums:
    """Adds up a minibatch's numbers, and averages over minibatches."""

    totals: dict[str, float] = field(default_factory=dict)

    def add(self, **numbers: Tensor | float) -> None:
        for name, number in numbers.items():
            self.totals[name] = self.totals.get(name, 0.0) + float(number)

    def over(self, minibatches: int) -> dict[str, float]:
        return {name: total / minibatches for name, total in self.totals.items()}


def new_trainee(networks: Networks, *, config: PpoConfig) -> Trainee:
    return Trainee(
        networks,
        adamw(networks.policy.parameters(), config, learning_rate=config.learning_rate),
        adamw(networks.value.parameters(), config, learning_rate=config.value_learning_rate),
        {name: p.clone() for name, p in trainable(networks.policy).items()} if config.ema else {},
    )


def warmup(iteration: int, *, over: int, start: float) -> float:
    """Factor of the learning rates in iteration 0, 1, ...: from `start` up to 1 over the first `over` (C.4)."""
    return min(1.0, start + (1.0 - start) * iteration / over) if over else 1.0


def update(
    trainee: Trainee,
    experience: Experience,
    orders: Sequence[Sequence[int]],
    texts: Sequence[list[list[int]]],
    *,
    config: PpoConfig,
    lr_factor: float,
) -> dict[str, float]:
    """Take one optimizer step a minibatch; return the metrics' means over them.

    `orders` has one permutation of the episodes for each inner epoch; `texts` the plain-text examples of each
    minibatch, in turn (empty lists for plain PPO).
    """
    minibatches = [part for order in orders for part in micro_batches(order, config.minibatch_size)]
    assert len(texts) == len(minibatches), f"{len(texts)} groups of texts for {len(minibatches)} minibatches"
    sums = Sums()
    networks, again = trainee.networks, config.activation_checkpointing
    for minibatch, examples in zip(minibatches, texts, strict=True):
        with recomputing(networks.policy, wanted=again), recomputing(networks.value, wanted=again):
            numbers = accumulate_gradients(networks, experience, minibatch, examples, config=config)
        norms = step_both(trainee, numbers, config=config, lr_factor=lr_factor)
        sums.add(**numbers, **norms)
    return sums.over(len(minibatches))


def accumulate_gradients(
    networks: Networks, experience: Experience, minibatch: Sequence[int], texts: list[list[int]], *, config: PpoConfig
) -> dict[str, float]:
    """Fill the gradient buffers of policy and value network from one minibatch, whatever the micro-batch size."""
    networks.policy.zero_grad(set_to_none=True)
    networks.value.zero_grad(set_to_none=True)
    sums = Sums()
    count = experience.mask[list(minibatch)].sum()  # tokens of the whole minibatch
    lengths = [len(experience.prompts[i]) + len(experience.completions[i]) for i in minibatch]
    for places in pieces(networks, lengths, config):
        add_ppo_gradients(networks, experience, [minibatch[place] for place in places], count, sums, config=config)
    if texts:
        add_text_gradient(networks, texts, sums, config=config)
    return summed(sums.totals)


def pieces(networks: Networks, lengths: Sequence[int], config: PpoConfig) -> list[list[int]]:
    """Which of this process's rows pass at once; `lengths` are those of all."""
    tokens = TOKENS_CPU if networks.policy.device.type == "cpu" else TOKENS_GPU
    own = share(sorted(range(len(lengths)), key=lambda i: -lengths[i]))
    found = even_pieces([lengths[i] for i in own], most=config.micro_batch_size, tokens=tokens)
    return [[own[i] for i in piece] for piece in found]


def add_ppo_gradients(
    networks: Networks, experience: Experience, episodes: list[int], count: Tensor, sums: Sums, *, config: PpoConfig
) -> None:
    rows = experience.rows(episodes)
    real = experience.mask[episodes]

    def flat(tokens: Tensor) -> Tensor:
        return tokens[episodes][real]  # (n,), in the order of rows.targets

    everywhere = torch.ones_like(rows.targets, dtype=torch.bool)
    with autocast(config.precision):
        policy = clipped_policy_loss(
            networks.logprobs(rows, temperature=config.temperature),
            flat(experience.logprobs),
            flat(experience.advantages),
            everywhere,
            clip_range=config.clip_range,
            count=count,
        )
    policy.loss.backward()  # here, so that one network's activations are kept at a time
    with autocast(config.precision):
        value_loss = clipped_value_loss(
            networks.values(rows),
            flat(experience.values),
            flat(experience.returns),
            everywhere,
            clip_range=config.value_clip,
            count=count,
        )
    (config.value_coefficient * value_loss).backward()
    sums.add(
        policy_loss=policy.loss.detach(),
        value_loss=value_loss.detach(),
        clip_fraction=policy.clip_fraction,
        approx_kl=policy.approx_kl,
    )


def add_text_gradient(networks: Networks, texts: list[list[int]], sums: Sums, *, config: PpoConfig) -> None:
    """Add ptx_coefficient * gradient of the mean -log p of the texts' tokens to what the policy's buffers hold.

    Same buffer, one step (C.4): the paper adds the gradients, it does not alternate two objectives.
    """
    count = sum(len(text) - 1 for text in texts)
    for places in pieces(networks, [len(text) for text in texts], config):
        with autocast(config.precision):
            loss = text_nll(networks.policy, [texts[place] for place in places]) / count
        (config.ptx_coefficient * loss).backward()
        sums.add(ptx_loss=loss.detach())


def text_nll(policy: nn.Module, texts: Sequence[list[int]]) -> Tensor:
    """Sum of -log p over every token but each text's first."""
    ids, mask = pad(texts, value=0)
    predicts = mask[:, 1:].bool()
    body, head = body_and_head(policy)
    hidden = body(input_ids=ids.to(policy.device), use_cache=False).last_hidden_state
    flat = hidden[:, :-1][predicts.to(policy.device)]
    return -token_logprobs(head, flat, ids[:, 1:][predicts].to(policy.device)).sum()


def step_both(trainee: Trainee, numbers: dict[str, float], *, config: PpoConfig, lr_factor: float) -> dict[str, float]:
    """One optimizer step of each network, and the moving average after it; the gradients' lengths before clipping."""
    loss = numbers["policy_loss"] + numbers["value_loss"] + numbers.get("ptx_loss", 0.0)
    trainee.steps += 1
    both = (
        ("policy", trainee.policy_optimizer, config.learning_rate),
        ("value", trainee.value_optimizer, config.value_learning_rate),
    )
    norms = {f"{name}_grad_norm": clip(optimizer, max_grad_norm=config.max_grad_norm) for name, optimizer, _ in both}
    for norm in norms.values():  # of both, before either moves
        refuse_nan(loss, norm, step=trainee.steps)
    for _, optimizer, learning_rate in both:
        move(optimizer, learning_rate=learning_rate * lr_factor)
    if trainee.ema:
        current = trainable(trainee.networks.policy)
        for name, average in trainee.ema.items():
            average.lerp_(current[name], 1.0 - config.ema)
    return norms
