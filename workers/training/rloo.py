"""RLOO against a reward model, without a value network (Ahmadian et al. 2024). Not in the paper.

    rloo.train(RlooConfig(), prompts, on_step, policy=sft, reward_model=rm, out=folder, checkpoints=folder)

Each prompt is played k times, and what its other k - 1 completions got is a completion's baseline. A completion is one
action with one probability: its KL to the initial policy is part of its reward, and its ratio is what is clipped.
A prompt's completions are encoded together, the prompt once. Simplified: no plain text, no moving average;
the last weights are kept. Everything random is a function of the seed and of where the run stands.
"""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from app.datasets.examples import Prompt
from app.runs.newer_configs import RlooConfig
from workers.rlhf.ppo_losses import clipped_policy_loss
from workers.training.adapters import merge_lora
from workers.training.batching import micro_batches
from workers.training.cards import model_card
from workers.training.checkpoints import fingerprint, load_newest, refuse_foreign, saving_checkpoint, tell
from workers.training.loop import OnStep, Outcome, Sample, Signal, Step, adamw, start, take_step
from workers.training.models import autocast, load_tokenizer, save_policy
from workers.training.ppo import SHOWN_SAMPLES
from workers.training.ppo_data import refuse_other_tokenizer, visits
from workers.training.ppo_shares import decoding_of
from workers.training.ppo_update import Sums, warmup
from workers.training.processes import share, summed
from workers.training.recomputing import recomputing
from workers.training.rloo_episodes import Data, Episodes, Networks, load_networks, look, play, prepare, prompts_at_once
from workers.training.rollout import Decoding, uniform_numbers

Metrics = dict[str, float]


def train(
    config: RlooConfig,
    prompts: Sequence[Prompt],
    on_step: OnStep,
    *,
    policy: Path,
    reward_model: Path,
    out: Path,
    checkpoints: Path,
    watch: Path | None = None,
) -> Outcome:
    """Train the policy in `policy` against `reward_model` and write it to `out`; resumes from `checkpoints`.

    `watch` is a second reward model whose scores are reported and never trained on.
    """
    # 1. What cannot work is said before anything is done.
    start(config)
    tokenizer = load_tokenizer(policy)
    for judge in (reward_model, *([watch] if watch else [])):
        refuse_other_tokenizer(tokenizer, load_tokenizer(judge), judge)
    networks = load_networks(config, policy, reward_model, watch)
    data = prepare(config, prompts, networks, tokenizer)

    # 2. What trains, and where the run was if it was on its way before.
    optimizer = adamw(networks.policy.parameters(), config, learning_rate=config.learning_rate)
    decoding = decoding_of(config, networks.policy, tokenizer, copies=config.completions_per_prompt)
    belongs_to = fingerprint(config, prompts)
    checkpoint = load_newest(checkpoints, modules={"policy": networks.policy}, optimizers={"adamw": optimizer})
    if checkpoint:
        refuse_foreign(checkpoint, belongs_to)
        extra = checkpoint.extra
    else:
        extra = {"belongs_to": belongs_to, "before": look(config, networks, data, decoding=decoding), "metrics": {}}

    # 3. One iteration after the other: play, and learn from it unless the KL says to stop.
    total = config.episodes // config.batch_size
    number = checkpoint.step if checkpoint else 0
    is_over = number == total
    while not is_over:
        began = time.perf_counter()
        episodes, metrics = iterate(config, networks, data, decoding, iteration=number)
        if 0 < config.kl_stop < metrics["kl"]:
            metrics["kl_stopped"] = 1.0
        else:
            metrics |= update(config, networks, optimizer, episodes, iteration=number)
        number += 1
        is_over = number == total or "kl_stopped" in metrics

        # 4. Now and then: what it writes for prompts that it never trained on.
        samples: tuple[Sample, ...] = ()
        if number % config.evaluate_every == 0 or is_over:
            now = look(config, networks, data, decoding=decoding)
            metrics |= now["metrics"]
            samples = compared(data, extra["before"], now)
        extra["metrics"] = dict(metrics)
        metrics["episodes_per_second"] = config.batch_size / (time.perf_counter() - began)

        # 5. Tell the caller, checkpoint when one is due, stop if told to.
        due = number % config.checkpoint_every == 0 or number == total
        keep = partial(_saving, checkpoints, number, networks, optimizer, extra)
        signal = tell(on_step, Step(number, total, metrics, samples), keep, due=due)
        if signal is Signal.STOP and not is_over:
            return Outcome(finished=False, step=number, metrics=metrics)

    # 6. The policy's folder.
    before = {f"{name}_before": value for name, value in extra["before"]["metrics"].items()}
    metrics = before | extra["metrics"]
    if config.merge_lora:
        merge_lora(networks.policy)
    counts = {"prompts": len(data.prompts), "left_out": data.left_out}
    said = (
        f"Each completion's baseline was the mean reward of the {config.completions_per_prompt - 1} others drawn for "
    )
    card = model_card(
        "RLOO policy", f"{said}its prompt. The weights are those that iteration {number} left.", base=policy,
        config=config, data=counts, metrics=metrics,
    )  # fmt: skip
    save_policy(networks.policy, tokenizer, out, card=card)
    return Outcome(finished=True, step=number, metrics=metrics)


def iterate(
    config: RlooConfig, networks: Networks, data: Data, decoding: Decoding, *, iteration: int
) -> tuple[Episodes, Metrics]:
    """Play one batch of episodes: `completions_per_prompt` of each of the prompts whose turn it is."""
    k = config.completions_per_prompt
    count = config.batch_size // k
    chosen = visits(len(data.prompts), iteration * count, count, seed=config.seed)
    uniforms = uniform_numbers(config.seed, "episodes", iteration, shape=(count, k, config.max_completion_tokens))
    prompts, eos_id = [data.prompts[i] for i in chosen], data.tokenizer.eos_token_id
    episodes, metrics = play(config, networks, prompts, uniforms, decoding=decoding, eos_id=eos_id)
    played = {"episodes": float((iteration + 1) * config.batch_size), "kl_coefficient": config.kl_coefficient}
    return episodes, metrics | played


def update(
    config: RlooConfig, networks: Networks, optimizer: torch.optim.Optimizer, episodes: Episodes, *, iteration: int
) -> Metrics:
    """Take one optimizer step a minibatch, a prompt's completions always together; the metrics' means over them."""
    learning_rate = config.learning_rate * warmup(iteration, over=config.warmup_iterations, start=config.warmup_start)
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + iteration)
    sums, steps = Sums(), 0
    for _ in range(config.inner_epochs):
        order = torch.randperm(len(episodes.prompts), generator=generator).tolist()
        for minibatch in micro_batches(order, config.minibatch_size // config.completions_per_prompt):
            with recomputing(networks.policy, wanted=config.activation_checkpointing):
                loss = accumulate(config, networks, episodes, minibatch, sums)
            steps += 1
            grad_norm = take_step(
                optimizer, learning_rate=learning_rate, max_grad_norm=config.max_grad_norm, loss=loss,
                step=iteration + 1,
            )  # fmt: skip
            sums.add(policy_grad_norm=grad_norm)
    return sums.over(steps) | {"learning_rate": learning_rate}


def accumulate(
    config: RlooConfig, networks: Networks, episodes: Episodes, minibatch: Sequence[int], sums: Sums
) -> float:
    """Adds the gradient of one minibatch's loss, whatever the micro-batch size; returns the loss."""
    k, own = config.completions_per_prompt, Sums()
    count = torch.tensor(float(len(minibatch) * k))
    by_length = sorted(minibatch, key=lambda i: -len(episodes.prompts[i]) - sum(map(len, episodes.completions[i])))
    for piece in micro_batches(share(by_length), prompts_at_once(config, k)):
        groups = [episodes.completions[i] for i in piece]
        with autocast(config.precision):
            logprobs = networks.logprobs(
                [episodes.prompts[i] for i in piece], groups, temperature=config.temperature
            )  # (n,)
        old, advantages = (t[piece].flatten().to(logprobs.device) for t in (episodes.logprobs, episodes.advantages))
        part = clipped_policy_loss(
            logprobs, old, advantages, torch.ones_like(old), clip_range=config.clip_range, count=count
        )
        part.loss.backward()
        own.add(policy_loss=part.loss.detach(), clip_fraction=part.clip_fraction, approx_kl=part.approx_kl)
    totals = summed(own.totals)
    sums.add(**totals)
    return totals["policy_loss"]


def compared(data: Data, before: dict[str, Any], now: dict[str, Any]) -> tuple[Sample, ...]:
    rows = zip(data.looked_at, before["texts"], now["texts"], before["rewards"], now["rewards"], strict=True)
    return tuple(Sample(said, *rest) for (said, _), *rest in rows)[:SHOWN_SAMPLES]


def _saving(
    checkpoints: Path, step: int, networks: Networks, optimizer: torch.optim.Optimizer, extra: dict[str, Any]
) -> AbstractContextManager[None]:
    return saving_checkpoint(
        checkpoints, step, modules={"policy": networks.policy}, optimizers={"adamw": optimizer}, extra=extra
    )
