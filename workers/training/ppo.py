"""PPO against a reward model, with plain text in the same gradient: sections 3.5 and C.4 of the paper.

    ppo.train(PpoConfig(), prompts, on_step, policy=sft, reward_model=rm, out=folder, checkpoints=folder, texts=texts)

A prompt is a bandit's state, a completion its one action. Each iteration plays `batch_size` episodes with the
policy as it is, then takes inner_epochs x minibatches optimizer steps on them. ptx_coefficient 0 is plain PPO.
Everything random is a function of the seed and of where the run stands, so a run that
was killed ends, on a CPU, with the same bits as one that was not. What is saved is the moving average of the
policy's weights (the paper keeps one, at 0.992, without saying what moves it: here an optimizer step).
"""

import random
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from app.datasets.examples import Prompt, Text
from app.runs.ppo_config import PpoConfig
from workers.rlhf.kl import KlController
from workers.training.adapters import merge_lora
from workers.training.batching import text_window
from workers.training.cards import model_card
from workers.training.checkpoints import fingerprint, load_newest, refuse_foreign, saving_checkpoint, tell, trainable
from workers.training.loop import CannotTrain, OnStep, Outcome, Sample, Signal, Step, start
from workers.training.models import load_tokenizer, save_policy
from workers.training.ppo_data import Data, prepare, refuse_other_tokenizer
from workers.training.ppo_experience import as_experience, draw_by_all, experience_metrics, staleness
from workers.training.ppo_look import Look, look
from workers.training.ppo_networks import load_networks, other_weights
from workers.training.ppo_shares import chances, decoding_of, visited
from workers.training.ppo_update import Trainee, new_trainee, update, warmup
from workers.training.rollout import Decoding
from workers.training.sampling_workers import Desk, Episodes, SamplingWorkers

SHOWN_SAMPLES = 4

Metrics = dict[str, float]


@dataclass(frozen=True, slots=True)
class Setup:
    """What a run is made of, the same in all its iterations; what trains is in it, and moves."""

    config: PpoConfig
    data: Data
    trainee: Trainee
    decoding: Decoding
    checkpoints: Path
    belongs_to: str

    def kl_controller(self, coefficient: float) -> KlController:
        target = self.config.kl_target if self.config.kl_controller == "adaptive" else None
        return KlController(coefficient, target=target, horizon=self.config.kl_horizon)


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
    others: Sequence[Path] = (),
    rollouts: Path | None = None,
    desk: Desk | None = None,
) -> Outcome:
    """Train the policy in `policy` against `reward_model` and write it to `out`; resumes from `checkpoints`.

    `others` are further reward models whose scores count as `config.ensemble` says; `watch` is one whose scores are
    reported and never trained on. Where sampling workers draw the episodes, `desk` is the way to them, and `rollouts`
    the folder of what they read and write.
    """
    # 1. What cannot work is said before anything is done.
    start(config)
    if config.sampling_workers and (desk is None or rollouts is None):
        raise CannotTrain(
            "sampling_workers are reached by the queue, and these processes were started without one. "
            "Start the run from Touchstone, or set sampling_workers to 0."
        )
    tokenizer = load_tokenizer(policy)
    for judge in (reward_model, *others, *([watch] if watch else [])):
        refuse_other_tokenizer(tokenizer, load_tokenizer(judge), judge)
    networks = load_networks(policy, reward_model, watch=watch, others=others, lora_rank=config.lora_rank)
    data = prepare(config, prompts, texts, tokenizer, networks)

    # 2. What trains, and where the run was if it was on its way before.
    belongs_to = fingerprint(config, [*prompts, *texts])
    decoding, trainee = decoding_of(config, networks.policy, tokenizer), new_trainee(networks, config=config)
    setup = Setup(config, data, trainee, decoding, checkpoints, belongs_to)
    run = resume(setup) or begin(setup)
    workers = meet_workers(setup, run, desk, rollouts)

    # 3. One iteration after the other: play, learn, look, keep.
    total = config.episodes // config.batch_size
    while run.iteration < total:
        began = time.perf_counter()
        episodes = workers.draw(run.iteration) if workers else draw_here(setup, run)
        if episodes is None:  # the caller said stop meanwhile
            with saving(setup, run):
                return Outcome(finished=False, step=run.iteration, metrics=run.metrics)
        run.metrics, stopped_by_kl = learn(setup, run, episodes, began=began)
        run.iteration += 1
        is_last = stopped_by_kl or run.iteration == total
        if workers and not is_last:
            workers.publish(run.iteration)
        samples = take_look(setup, run) if is_last or run.iteration % config.evaluate_every == 0 else ()
        due = run.iteration % config.checkpoint_every == 0 or run.iteration == total
        keep = partial(saving, setup, run)
        signal = tell(on_step, Step(run.iteration, total, run.metrics, samples), keep, due=due)
        if is_last:
            break
        if signal is Signal.STOP:
            return Outcome(finished=False, step=run.iteration, metrics=run.metrics)

    # 4. The chosen weights become the model.
    metrics = {**run.before.as_before(), **run.metrics, **run.best}
    write_policy(setup, run, out, base=policy, metrics=metrics)
    return Outcome(finished=True, step=run.iteration, metrics=metrics)


def begin(setup: Setup) -> Run:
    """A run at its start, after a look at what the policy writes before any step."""
    before = look(setup.trainee.networks, setup.data, config=setup.config, decoding=setup.decoding)
    return Run(setup.kl_controller(setup.config.kl_coefficient), before, {}, {})


def meet_workers(setup: Setup, run: Run, desk: Desk | None, folder: Path | None) -> SamplingWorkers | None:
    """The sampling workers, the policy as the run goes on with it published; None where the trainer draws itself."""
    if not setup.config.sampling_workers or desk is None or folder is None:
        return None
    workers = SamplingWorkers(
        setup.config, setup.trainee.networks.policy, setup.data.prompts, setup.decoding, desk=desk, folder=folder,
        checkpoints=setup.checkpoints, iteration=run.iteration,
    )  # fmt: skip
    if run.iteration < workers.total:
        workers.publish(run.iteration)
    return workers


def draw_here(setup: Setup, run: Run) -> Episodes:
    """This iteration's episodes, drawn from the policy as it is."""
    config, policy = setup.config, setup.trainee.networks.policy
    prompts, uniforms = visited(config, setup.data.prompts, run.iteration), chances(config, run.iteration)
    drawn = draw_by_all(policy, prompts, uniforms, config=config, decoding=setup.decoding)
    return drawn, [run.iteration] * len(drawn)


def learn(setup: Setup, run: Run, episodes: Episodes, *, began: float) -> tuple[Metrics, bool]:
    """Learn from one batch of episodes, unless the KL says to stop; the metrics, and whether it did."""
    config, data, iteration = setup.config, setup.data, run.iteration
    drawn, versions = episodes
    experience = as_experience(
        setup.trainee.networks,
        visited(config, data.prompts, iteration),
        drawn,
        versions,
        config=config,
        kl_coefficient=run.kl.coefficient,
        eos_id=data.tokenizer.eos_token_id,
    )
    metrics = experience_metrics(experience, estimator=config.kl_estimator)
    metrics |= {"kl_coefficient": run.kl.coefficient, "episodes": float((iteration + 1) * config.batch_size)}
    if config.max_staleness:
        metrics |= staleness(experience, iteration=iteration)
    if 0 < config.kl_stop < metrics["kl"]:
        return metrics | {"kl_stopped": 1.0}, True
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + iteration)
    orders = [torch.randperm(config.batch_size, generator=generator).tolist() for _ in range(config.inner_epochs)]
    factor = warmup(iteration, over=config.warmup_iterations, start=config.warmup_start)
    texts = draw_texts(config, data, iteration=iteration)
    metrics |= update(setup.trainee, experience, orders, texts, config=config, lr_factor=factor)
    run.kl.update(metrics["kl"], episodes=config.batch_size)
    metrics["learning_rate"] = config.learning_rate * factor
    metrics["episodes_per_second"] = config.batch_size / (time.perf_counter() - began)
    return metrics, False


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


def take_look(setup: Setup, run: Run) -> tuple[Sample, ...]:
    """Look at the policy that would be saved now, add what was seen to the metrics, note whether it is the best."""
    config, trainee, weights = setup.config, setup.trainee, weights_to_save(setup.trainee)
    with other_weights(trainee.networks.policy, weights):
        now = look(trainee.networks, setup.data, config=config, decoding=setup.decoding)
    merit = now.merit()
    if merit is not None and merit > run.best.get("best_valid_reward", -torch.inf):
        run.best = {"best_valid_reward": merit, "best_iteration": float(run.iteration)}
        if config.keep == "best":
            run.best_weights = {name: tensor.clone() for name, tensor in weights.items()}
    run.metrics |= now.metrics | run.best
    rows = zip(setup.data.looked_at, run.before.texts, now.texts, run.before.rewards, now.rewards, strict=True)
    return tuple(Sample(said.text, *rest) for said, *rest in rows)[:SHOWN_SAMPLES]


def saving(setup: Setup, run: Run) -> AbstractContextManager[None]:
    trainee = setup.trainee
    extra: dict[str, Any] = {
        "belongs_to": setup.belongs_to,
        "kl_coefficient": run.kl.coefficient,
        "optimizer_steps": trainee.steps,
        "best": run.best,
        "metrics": {name: value for name, value in run.metrics.items() if name != "episodes_per_second"},
        "before": {"texts": run.before.texts, "rewards": run.before.rewards, "metrics": run.before.metrics},
    }
    groups = {"ema": trainee.ema, "best": run.best_weights}
    return saving_checkpoint(
        setup.checkpoints,
        run.iteration,
        modules={"policy": trainee.networks.policy, "value": trainee.networks.value},
        optimizers={"policy": trainee.policy_optimizer, "value": trainee.value_optimizer},
        extra=extra,
        tensors={name: group for name, group in groups.items() if group},
    )


def resume(setup: Setup) -> Run | None:
    """Put everything back as the newest checkpoint has it; None if there is none."""
    trainee = setup.trainee
    checkpoint = load_newest(
        setup.checkpoints,
        modules={"policy": trainee.networks.policy, "value": trainee.networks.value},
        optimizers={"policy": trainee.policy_optimizer, "value": trainee.value_optimizer},
    )
    if checkpoint is None:
        return None
    refuse_foreign(checkpoint, setup.belongs_to)
    device = trainee.networks.policy.device
    groups = {name: {key: t.to(device) for key, t in group.items()} for name, group in checkpoint.tensors.items()}
    trainee.ema, trainee.steps = groups.get("ema", {}), checkpoint.extra["optimizer_steps"]
    return Run(
        kl=setup.kl_controller(checkpoint.extra["kl_coefficient"]),
        before=Look(**checkpoint.extra["before"]),
        best=checkpoint.extra["best"],
        best_weights=groups.get("best", {}),
        metrics=checkpoint.extra["metrics"],
        iteration=checkpoint.step,
    )


def write_policy(setup: Setup, run: Run, out: Path, *, base: Path, metrics: Metrics) -> None:
    config, data, trainee = setup.config, setup.data, setup.trainee
    policy = trainee.networks.policy
    weights = run.best_weights or weights_to_save(trainee)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if name in weights:
                parameter.copy_(weights[name])
    if config.merge_lora:
        merge_lora(policy)
    counts = {"prompts": len(data.prompts), "left_out": data.left_out, "texts": len(data.texts)}
    title = "PPO-ptx policy" if config.ptx_coefficient else "PPO policy"
    said = "The weights are " + ("the moving average of those" if config.ema else "those")
    said += f" that iteration {int(metrics.get('best_iteration', 0)) if run.best_weights else run.iteration} left."
    card = model_card(title, said, base=base, config=config, data=counts, metrics=metrics)
    save_policy(policy, data.tokenizer, out, card=card)
