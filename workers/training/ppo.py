"""PPO against a reward model, with plain text in the same gradient: sections 3.5 and C.4 of the paper.

    ppo.train(PpoConfig(), prompts, on_step, policy=sft, reward_model=rm, out=folder, checkpoints=folder, texts=texts)

A prompt is a bandit's state, a completion its one action. Each iteration plays `batch_size` episodes with the
policy as it is, then takes inner_epochs x minibatches optimizer steps on them. ptx_coefficient 0 is plain PPO.
Simplified: one process. Everything random is a function of the seed and of where the run stands, so a run that
was killed ends, on a CPU, with the same bits as one that was not. What is saved is the moving average of the
policy's weights (the paper keeps one, at 0.992, without saying what moves it: here an optimizer step).
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from app.datasets.examples import Prompt, Text
from app.runs.configs import PpoConfig
from workers.rlhf.kl import KlController
from workers.training.adapters import merge_lora
from workers.training.batching import text_window
from workers.training.cards import model_card
from workers.training.checkpoints import fingerprint, load_newest, refuse_foreign, save_checkpoint, trainable
from workers.training.loop import OnStep, Outcome, Sample, Signal, Step, start
from workers.training.models import load_tokenizer, save_policy
from workers.training.ppo_data import Data, prepare, refuse_other_tokenizer
from workers.training.ppo_experience import collect, experience_metrics
from workers.training.ppo_look import Look, look
from workers.training.ppo_networks import load_networks, other_weights
from workers.training.ppo_update import Trainee, new_trainee, update, warmup
from workers.training.rollout import Decoding, stop_ids, uniform_numbers

SHOWN_SAMPLES = 4
ROWS_IN_FLIGHT = 64  # completions drawn side by side: reading a model's weights costs the same for one as for many

Metrics = dict[str, float]


@dataclass(slots=True)
class Run:
    """Where a run stands; with the trainee, all that a checkpoint holds."""

    kl: KlController
    before: Look
    best: Metrics  # {} until a look was taken
    best_weights: dict[str, Tensor]  # {} unless the best are to be saved
    metrics: Metrics = field(default_factory=dict)  # of the last iteration
    iteration: int = 0  # finished ones


def train(
    config: PpoConfig,
    prompts: list[Prompt],
    on_step: OnStep,
    *,
    policy: Path,
    reward_model: Path,
    out: Path,
    checkpoints: Path,
    texts: Sequence[Text] = (),
    watch: Path | None = None,
) -> Outcome:
    """Train the policy in `policy` against `reward_model` and write it to `out`; resumes from `checkpoints`.

    `watch` is a second reward model whose scores are reported and never trained on.
    """
    # 1. What cannot work is said before anything is done.
    start(config)
    tokenizer = load_tokenizer(policy)
    for judge in (reward_model, watch):
        if judge is not None:
            refuse_other_tokenizer(tokenizer, load_tokenizer(judge), judge)
    networks = load_networks(policy, reward_model, watch=watch, lora_rank=config.lora_rank)
    data = prepare(config, prompts, texts, tokenizer, networks)

    # 2. What trains, and where the run was if it was on its way before.
    trainee = new_trainee(networks, config=config)
    decoding = Decoding(
        max_new_tokens=config.max_completion_tokens,
        eos_ids=stop_ids(networks.policy, tokenizer),
        temperature=config.temperature,
        rows=max(config.micro_batch_size, ROWS_IN_FLIGHT),
    )
    belongs_to = fingerprint(config, [*prompts, *texts])
    run = resume(config, trainee, checkpoints, belongs_to) or begin(config, trainee, data, decoding)

    # 3. One iteration after the other.
    total = config.episodes // config.batch_size
    for iteration in range(run.iteration, total):
        metrics, stopped_by_kl = iterate(config, trainee, data, run, decoding, iteration=iteration)
        now: Look | None = None
        if (iteration + 1) % config.evaluate_every == 0 or iteration + 1 == total or stopped_by_kl:
            now = take_look(config, trainee, data, run, decoding, iteration=iteration)
            metrics |= now.metrics | run.best
        run.iteration, run.metrics = iteration + 1, metrics
        due = run.iteration % config.checkpoint_every == 0 or run.iteration == total
        if due:
            save(run, trainee, checkpoints, belongs_to)
        samples = shown(data, run.before, now) if now else ()
        signal = on_step(Step(run.iteration, total, metrics, samples, checkpointed=due))
        if stopped_by_kl:
            break
        if signal is Signal.STOP and run.iteration < total:
            if not due:
                save(run, trainee, checkpoints, belongs_to)
            return Outcome(finished=False, step=run.iteration, metrics=metrics)

    # 4. The chosen weights become the model.
    metrics = {**run.before.as_before(), **run.metrics, **run.best}
    write_policy(config, trainee, run, data.tokenizer, out, base=policy, data=data, metrics=metrics)
    return Outcome(finished=True, step=run.iteration, metrics=metrics)


def begin(config: PpoConfig, trainee: Trainee, data: Data, decoding: Decoding) -> Run:
    """A run at its start, after a look at what the policy writes before any step."""
    target = config.kl_target if config.kl_controller == "adaptive" else None
    kl = KlController(config.kl_coefficient, target=target, horizon=config.kl_horizon)
    return Run(kl, look(trainee.networks, data, config=config, decoding=decoding), {}, {})


def iterate(
    config: PpoConfig, trainee: Trainee, data: Data, run: Run, decoding: Decoding, *, iteration: int
) -> tuple[Metrics, bool]:
    """Play one batch of episodes and learn from it, unless the KL says to stop; the metrics, and whether it did."""
    began = time.perf_counter()
    batch = visits(len(data.prompts), iteration * config.batch_size, config.batch_size, seed=config.seed)
    uniforms = uniform_numbers(
        config.seed, "episodes", iteration, shape=(config.batch_size, 1, config.max_completion_tokens)
    )
    experience = collect(
        trainee.networks,
        [data.prompts[i] for i in batch],
        uniforms,
        config=config,
        decoding=decoding,
        kl_coefficient=run.kl.coefficient,
        eos_id=data.tokenizer.eos_token_id,
    )
    metrics = experience_metrics(experience)
    metrics |= {"kl_coefficient": run.kl.coefficient, "episodes": float((iteration + 1) * config.batch_size)}
    if 0 < config.kl_stop < metrics["kl"]:
        return metrics | {"kl_stopped": 1.0}, True
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + iteration)
    orders = [torch.randperm(config.batch_size, generator=generator).tolist() for _ in range(config.inner_epochs)]
    factor = warmup(iteration, over=config.warmup_iterations, start=config.warmup_start)
    metrics |= update(
        trainee, experience, orders, draw_texts(config, data, iteration=iteration), config=config, lr_factor=factor
    )
    run.kl.update(metrics["kl"], episodes=config.batch_size)
    metrics["learning_rate"] = config.learning_rate * factor
    metrics["episodes_per_second"] = config.batch_size / (time.perf_counter() - began)
    return metrics, False


def visits(n: int, first: int, count: int, *, seed: int) -> list[int]:
    """Which of n prompts episodes `first`, `first` + 1, ... play: each pass takes every prompt once, shuffled anew."""
    chosen: list[int] = []
    for number in range(first // n, (first + count - 1) // n + 1):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        chosen += torch.randperm(n, generator=generator).tolist()
    return chosen[first % n : first % n + count]


def draw_texts(config: PpoConfig, data: Data, *, iteration: int) -> list[list[list[int]]]:
    """Random windows of plain text for each minibatch of this iteration, `ptx_ratio` for each episode."""
    minibatches = config.inner_epochs * (config.batch_size // config.minibatch_size)
    if not config.ptx_coefficient:
        return [[] for _ in range(minibatches)]
    rng = random.Random(f"{config.seed} texts {iteration}")
    count = max(1, round(config.ptx_ratio * config.minibatch_size))

    def window() -> list[int]:
        return text_window(data.tokenizer, rng.choice(data.texts), config.ptx_tokens, rng)

    return [[window() for _ in range(count)] for _ in range(minibatches)]


def weights_to_save(trainee: Trainee) -> dict[str, Tensor]:
    return trainee.ema or trainable(trainee.networks.policy)


def take_look(
    config: PpoConfig,
    trainee: Trainee,
    data: Data,
    run: Run,
    decoding: Decoding,
    *,
    iteration: int,
) -> Look:
    """Look at the policy that would be saved now, and note whether it is the best so far."""
    weights = weights_to_save(trainee)
    with other_weights(trainee.networks.policy, weights):
        now = look(trainee.networks, data, config=config, decoding=decoding)
    merit = now.merit()
    if merit is not None and merit > run.best.get("best_valid_reward", -torch.inf):
        run.best = {"best_valid_reward": merit, "best_iteration": float(iteration + 1)}
        if config.keep == "best":
            run.best_weights = {name: tensor.clone() for name, tensor in weights.items()}
    return now


def shown(data: Data, before: Look, now: Look) -> tuple[Sample, ...]:
    rows = zip(data.looked_at, before.texts, now.texts, before.rewards, now.rewards, strict=True)
    return tuple(Sample(said.text, *rest) for said, *rest in rows)[:SHOWN_SAMPLES]


def save(run: Run, trainee: Trainee, checkpoints: Path, belongs_to: str) -> None:
    extra: dict[str, Any] = {
        "belongs_to": belongs_to,
        "kl_coefficient": run.kl.coefficient,
        "optimizer_steps": trainee.steps,
        "best": run.best,
        "metrics": {name: value for name, value in run.metrics.items() if name != "episodes_per_second"},
        "before": {"texts": run.before.texts, "rewards": run.before.rewards, "metrics": run.before.metrics},
    }
    groups = {"ema": trainee.ema, "best": run.best_weights}
    save_checkpoint(
        checkpoints,
        run.iteration,
        modules={"policy": trainee.networks.policy, "value": trainee.networks.value},
        optimizers={"policy": trainee.policy_optimizer, "value": trainee.value_optimizer},
        extra=extra,
        tensors={name: group for name, group in groups.items() if group},
    )


def resume(config: PpoConfig, trainee: Trainee, checkpoints: Path, belongs_to: str) -> Run | None:
    """Put everything back as the newest checkpoint has it; None if there is none."""
    checkpoint = load_newest(
        checkpoints,
        modules={"policy": trainee.networks.policy, "value": trainee.networks.value},
        optimizers={"policy": trainee.policy_optimizer, "value": trainee.value_optimizer},
    )
    if checkpoint is None:
        return None
    refuse_foreign(checkpoint, belongs_to)
    device = trainee.networks.policy.device
    groups = {name: {key: t.to(device) for key, t in group.items()} for name, group in checkpoint.tensors.items()}
    trainee.ema, trainee.steps = groups.get("ema", {}), checkpoint.extra["optimizer_steps"]
    target = config.kl_target if config.kl_controller == "adaptive" else None
    return Run(
        kl=KlController(checkpoint.extra["kl_coefficient"], target=target, horizon=config.kl_horizon),
        before=Look(**checkpoint.extra["before"]),
        best=checkpoint.extra["best"],
        best_weights=groups.get("best", {}),
        metrics=checkpoint.extra["metrics"],
        iteration=checkpoint.step,
    )


def write_policy(
    config: PpoConfig,
    trainee: Trainee,
    run: Run,
    tokenizer: PreTrainedTokenizerBase,
    out: Path,
    *,
    base: Path,
    data: Data,
    metrics: Metrics,
) -> None:
    policy = trainee.networks.policy
    weights = run.best_weights or weights_to_save(trainee)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if name in weights:
                parameter.copy_(weights[name])
    merge_lora(policy)
    counts = {"prompts": len(data.prompts), "left_out": data.left_out, "texts": len(data.texts)}
    title = "PPO-ptx policy" if config.ptx_coefficient else "PPO policy"
    said = "The weights are " + ("the moving average of those" if config.ema else "those")
    said += f" that iteration {int(metrics.get('best_iteration', 0)) if run.best_weights else run.iteration} left."
    save_policy(
        policy, tokenizer, out, card=model_card(title, said, base=base, config=config, data=counts, metrics=metrics)
    )
