"""Supervised fine-tuning on demonstrations (sections 3.5 and C.1), optionally with plain text mixed in (C.3).

    sft.train(SftConfig(), demonstrations, on_step, base=folder, out=folder, checkpoints=folder, reward_model=folder)

Loss on the completion and its end token only, as a mean over the tokens of the whole optimizer batch. Cosine to 10 %
of the peak without warmup; residual dropout. After each epoch the validation loss is taken and, where a reward model
is given, the reward of greedy completions of validation prompts; the best epoch by reward is kept (C.1), else the best
by validation loss, else the last. The policy that PPO starts from is made with epochs=2 and pretraining_mix=0.1 (C.3).
Simplified: the paper's learning-rate search is the admin's.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from app.datasets.examples import Demonstration, Text
from app.runs.configs import SftConfig
from workers.training.adapters import add_lora, merge_lora
from workers.training.cards import model_card
from workers.training.checkpoints import fingerprint, load_newest, refuse_foreign, saving_checkpoint, tell
from workers.training.demonstrations import Row, batches, draw_texts, prepare, steps_in_epoch
from workers.training.dropout import add_residual_dropout
from workers.training.epochs import (
    Record,
    choosing_judge,
    drop_others,
    evaluate,
    how_chosen,
    looked_at,
    noted,
    take_best,
    write,
)
from workers.training.loop import OnStep, Outcome, Sample, Signal, Step, adamw, cosine, start, take_step
from workers.training.models import context_of, load_policy, load_tokenizer, save_policy
from workers.training.nll import accumulate, padding_share
from workers.training.packing import packs
from workers.training.processes import count, draw_apart, from_main
from workers.training.recomputing import recomputing
from workers.training.sharding import gather, shard

Metrics = dict[str, float]


@dataclass(frozen=True, slots=True)
class Trainee:
    """The model that trains, with its optimizer; and what is looked at and saved: the model itself, or its twin."""

    model: PreTrainedModel
    shown: PreTrainedModel | None  # None: this process has only its shard
    tokenizer: PreTrainedTokenizerBase
    optimizer: torch.optim.Optimizer

    def whole(self) -> PreTrainedModel | None:
        """What is looked at and saved, as it is now; every process must ask for it."""
        gather(self.model, self.shown)
        return self.shown


def train(
    config: SftConfig,
    examples: Sequence[Demonstration],
    on_step: OnStep,
    *,
    base: Path,
    out: Path,
    checkpoints: Path,
    texts: Sequence[Text] = (),
    reward_model: Path | None = None,
) -> Outcome:
    """Fine-tunes the model in `base` on the demonstrations and writes it to `out`; resumes from `checkpoints`."""
    # 1. What cannot work is said before anything is done.
    start(config)
    tokenizer, model = load_tokenizer(base), load_policy(base)
    data = prepare(config, examples, texts, tokenizer, context=context_of(model.config))
    judge = choosing_judge(config, reward_model)

    # 2. What trains, and where the run was if it was on its way before.
    trainee = new_trainee(config, model, tokenizer)
    belongs_to = fingerprint(config, [*examples, *texts])
    done, record = resume(trainee, checkpoints, belongs_to)
    if record is None:
        record = Record(
            before=from_main(lambda: write(config, trainee.shown, tokenizer, looked_at(config, data, judge)))
        )

    # 3. One optimizer step after the other.
    an_epoch = steps_in_epoch(config, data)
    total = config.epochs * an_epoch
    ordered = batches(config, data, after=done, by_length=not packs(model.config))
    for number, batch in enumerate(ordered, start=done + 1):
        metrics = learn(config, trainee, batch, data.texts, step=number, total=total)
        metrics["epoch"] = number / an_epoch

        # 4. After each epoch: how good, and is it the best so far?
        samples: tuple[Sample, ...] = ()
        if number % an_epoch == 0:
            now = trainee.whole()
            seen, samples = from_main(partial(evaluate, config, now, tokenizer, data, judge, before=record.before))
            metrics |= seen
            epoch = {"epoch": float(number // an_epoch), "loss": metrics["loss"], **seen}
            record = noted(record, epoch, now, checkpoints)

        # 5. Tell the caller, checkpoint when one is due, stop if told to.
        due = bool(samples) or number % config.checkpoint_every == 0 or number == total
        keep = partial(saving, trainee, record, checkpoints, belongs_to, step=number)
        signal = tell(on_step, Step(number, total, metrics, samples), keep, due=due)
        if signal is Signal.STOP and number < total:
            return Outcome(finished=False, step=number, metrics=metrics)

    # 6. The chosen epoch becomes the model.
    if trainee.shown is None:
        return Outcome(finished=True, step=total, metrics={})
    model = trainee.shown
    metrics = take_best(record, model, checkpoints)
    if config.merge_lora:
        merge_lora(model)
    metrics |= {name: float(count) for name, count in data.counts().items()}
    said = how_chosen(judge, data)
    card = model_card("SFT model", said, base=base, config=config, data=data.counts(), metrics=metrics)
    save_policy(model.eval(), tokenizer, out, card=card)
    return Outcome(finished=True, step=total, metrics=metrics)


def new_trainee(config: SftConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Trainee:
    """Residual dropout (C.1), adapters where they are asked for, and Adam over what trains."""
    add_residual_dropout(model, config.dropout)
    if config.lora_rank:
        add_lora(model, config.lora_rank)
    shown = shard(model) if config.sharded and count() > 1 else model
    return Trainee(model, shown, tokenizer, adamw(model.parameters(), config, learning_rate=config.learning_rate))


def learn(
    config: SftConfig, trainee: Trainee, batch: list[Row], texts: Sequence[str], *, step: int, total: int
) -> Metrics:
    """One optimizer step on a batch of demonstrations, and on plain text where the mix asks for it."""
    began = time.perf_counter()
    trainee.model.train()
    draw_apart(config.seed, step)
    with recomputing(trainee.model, wanted=config.activation_checkpointing):
        metrics = {"loss": accumulate(trainee.model, batch, config=config, share=1 - config.pretraining_mix)}
        if config.pretraining_mix:
            mixed = draw_texts(config, trainee.tokenizer, texts, step=step)
            metrics["text_loss"] = accumulate(trainee.model, mixed, config=config, share=config.pretraining_mix)
    metrics["learning_rate"] = config.learning_rate * cosine(step - 1, total, end=config.final_learning_rate)
    metrics["grad_norm"] = take_step(
        trainee.optimizer,
        learning_rate=metrics["learning_rate"],
        max_grad_norm=config.max_grad_norm,
        loss=metrics["loss"] + metrics.get("text_loss", 0.0),
        step=step,
    )
    metrics["padding"] = padding_share(trainee.model, batch, micro_batch_size=config.micro_batch_size)
    metrics["tokens"] = float(sum(row.targets for row in batch))
    metrics["tokens_per_second"] = metrics["tokens"] / (time.perf_counter() - began)
    return metrics


def resume(trainee: Trainee, checkpoints: Path, belongs_to: str) -> tuple[int, Record | None]:
    """How many steps were taken and what is known of the epochs so far; (0, None) for a run that begins."""
    modules, optimizers = {"model": trainee.model}, {"adamw": trainee.optimizer}
    checkpoint = load_newest(checkpoints, modules=modules, optimizers=optimizers)
    if checkpoint is None:
        return 0, None
    refuse_foreign(checkpoint, belongs_to)
    return checkpoint.step, Record(**checkpoint.extra["record"])


@contextmanager
def saving(trainee: Trainee, record: Record, checkpoints: Path, belongs_to: str, *, step: int) -> Iterator[None]:
    """A checkpoint; then the weights of epochs that no checkpoint calls the best may go."""
    extra = {"belongs_to": belongs_to, "record": asdict(record)}
    modules, optimizers = {"model": trainee.model}, {"adamw": trainee.optimizer}
    with saving_checkpoint(checkpoints, step, modules=modules, optimizers=optimizers, extra=extra):
        yield
    drop_others(record, checkpoints)
