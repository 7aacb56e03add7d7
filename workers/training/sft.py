"""Supervised fine-tuning on demonstrations (sections 3.5 and C.1), optionally with plain text mixed in (C.3).

Loss on the completion and its end token only, as a mean over the tokens of the whole optimizer batch. Cosine to 10 %
of the peak without warmup; residual dropout. After each epoch the validation loss is taken and, where a reward model
is given, the reward of greedy completions of validation prompts; the best epoch by reward is kept (C.1), else the best
by validation loss, else the last. Simplified: one process; the paper's learning-rate search is the admin's.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from app.datasets.examples import Demonstration, Messages, Text
from app.runs.configs import SftConfig
from workers.rlhf.masking import completion_targets
from workers.training.adapters import add_lora, merge_lora
from workers.training.batching import (
    bucketed_batches,
    decode_completion,
    encode_completion,
    encode_prompt,
    micro_batches,
    pad,
    text_window,
)
from workers.training.cards import model_card
from workers.training.checkpoints import fingerprint, load_newest, refuse_foreign, save_checkpoint, trainable
from workers.training.dropout import add_residual_dropout
from workers.training.heads import body_and_head, token_logprobs
from workers.training.limits import fits, refuse_if_most_left_out, require_room
from workers.training.loop import (
    CannotTrain,
    OnStep,
    Outcome,
    Sample,
    Signal,
    Step,
    adamw,
    cosine,
    start,
    take_step,
)
from workers.training.models import (
    RewardModel,
    autocast,
    context_of,
    load_policy,
    load_reward_model,
    load_tokenizer,
    save_policy,
)
from workers.training.recomputing import recomputing
from workers.training.rollout import Decoding, draw_completions, stop_ids

SHOWN_SAMPLES = 4
EVALUATION_BATCH = 16

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """Token ids of one example; plain text is all completion."""

    prompt: list[int]
    completion: list[int]
    messages: Messages

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)

    @property
    def targets(self) -> int:
        return len(self.completion) - (not self.prompt)  # the first token of a plain text has nothing before it


@dataclass(frozen=True, slots=True)
class Data:
    train: list[Row]
    valid: list[Row]
    left_out: int


@dataclass(frozen=True, slots=True)
class Judge:
    """The reward model that chooses among epochs."""

    model: RewardModel
    tokenizer: PreTrainedTokenizerBase


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
    data = prepare(config, examples, tokenizer, context=context_of(model.config))
    plain = [text.text for text in texts if text.split == "train" and text.text.strip()]
    if config.pretraining_mix and not plain:
        raise CannotTrain("pretraining_mix is above 0 but there is no plain text. Give some, or set it to 0.")
    judge = _load_judge(config, reward_model)

    # 2. What trains.
    add_residual_dropout(model, config.dropout)
    if config.lora_rank:
        add_lora(model, config.lora_rank)
    optimizer = adamw(model.parameters(), config, learning_rate=config.learning_rate)
    texts_in_batch = max(1, round(config.pretraining_mix * config.batch_size)) if config.pretraining_mix else 0
    demonstrations_in_batch = max(1, config.batch_size - texts_in_batch)
    steps_per_epoch = -(-len(data.train) // demonstrations_in_batch)
    total = config.epochs * steps_per_epoch

    # 3. Where the run was, if it was on its way before.
    belongs_to = fingerprint(config, [*examples, *texts])
    checkpoint = load_newest(checkpoints, modules={"model": model}, optimizers={"adamw": optimizer})
    if checkpoint:
        refuse_foreign(checkpoint, belongs_to)
        extra, first = checkpoint.extra, checkpoint.step + 1
    else:
        before = write(config, model, tokenizer, looked_at(config, data, judge))
        extra, first = {"belongs_to": belongs_to, "before": before, "epochs": [], "best": 0, "previous_best": 0}, 1

    # 4. One optimizer step after the other.
    for number in range(first, total + 1):
        began = time.perf_counter()
        epoch, place = divmod(number - 1, steps_per_epoch)
        lengths = [len(row) for row in data.train]
        order = bucketed_batches(lengths, batch_size=demonstrations_in_batch, seed=config.seed * 1_000_003 + epoch)
        batch = [data.train[i] for i in order[place]]
        mixed = draw_texts(config, tokenizer, plain, count=texts_in_batch, step=number)
        model.train()
        with recomputing(model, wanted=config.activation_checkpointing):
            loss = accumulate(model, batch, config=config, share=1 - config.pretraining_mix)
            text_loss = accumulate(model, mixed, config=config, share=config.pretraining_mix) if mixed else 0.0
        learning_rate = config.learning_rate * cosine(number - 1, total, end=config.final_learning_rate)
        grad_norm = take_step(
            optimizer,
            learning_rate=learning_rate,
            max_grad_norm=config.max_grad_norm,
            loss=loss + text_loss,
            step=number,
        )
        tokens = sum(row.targets for row in batch)
        metrics = {"loss": loss, "learning_rate": learning_rate, "grad_norm": grad_norm, "tokens": float(tokens)}
        metrics |= {"epoch": number / steps_per_epoch, "tokens_per_second": tokens / (time.perf_counter() - began)}
        if mixed:
            metrics["text_loss"] = text_loss

        # 5. After each epoch: how good, and is it the best so far?
        samples: tuple[Sample, ...] = ()
        if place == steps_per_epoch - 1:
            seen, samples = evaluate(config, model, tokenizer, data, judge, before=extra["before"])
            metrics |= seen
            extra = _keep_if_best(extra, {"epoch": float(epoch + 1), "loss": loss, **seen}, model, checkpoints)

        # 6. Checkpoint when one is due, tell the caller, stop if told to.
        due = bool(samples) or number % config.checkpoint_every == 0 or number == total
        if due:
            _save(checkpoints, number, model, optimizer, extra)
        signal = on_step(Step(number, total, metrics, samples, checkpointed=due))
        if signal is Signal.STOP and number < total:
            if not due:
                _save(checkpoints, number, model, optimizer, extra)
            return Outcome(finished=False, step=number, metrics=metrics)

    # 7. The chosen epoch becomes the model.
    model.load_state_dict(load_file(_best_file(checkpoints, extra["best"])), strict=False)
    if config.merge_lora:
        merge_lora(model)
    counts = {"demonstrations": len(data.train), "validation_demonstrations": len(data.valid)}
    counts |= {"left_out": data.left_out}
    metrics = {f"best_{name}": value for name, value in extra["epochs"][extra["best"] - 1].items()}
    metrics |= {name: float(count) for name, count in counts.items()}
    said = _card_text(judge, data)
    card = model_card("SFT model", said, base=base, config=config, data=counts, metrics=metrics)
    save_policy(model.eval(), tokenizer, out, card=card)
    return Outcome(finished=True, step=total, metrics=metrics)


def prepare(
    config: SftConfig, examples: Sequence[Demonstration], tokenizer: PreTrainedTokenizerBase, *, context: int
) -> Data:
    """Encodes the demonstrations; leaves out and counts those over the limits; refuses what cannot train."""
    used = [e for e in examples if e.split in ("train", "valid") and e.completion.strip()]
    if not any(e.split == "train" for e in used):
        raise CannotTrain("There are no demonstrations in the train split. Write some, or import them, first.")
    require_room(config, context)
    rows = [
        (e.split, Row(encode_prompt(tokenizer, e.messages), encode_completion(tokenizer, e.completion), e.messages))
        for e in used
    ]
    fitting = [(split, row) for split, row in rows if fits(config, row.prompt, row.completion)]
    lengths = [(len(row.prompt), len(row.completion)) for _, row in rows]
    left_out = len(rows) - len(fitting)
    refuse_if_most_left_out(config, lengths, left_out, what="demonstrations", context=context)
    train_rows = [row for split, row in fitting if split == "train"]
    if not train_rows:
        raise CannotTrain("Every demonstration of the train split is over max_prompt_tokens or max_completion_tokens.")
    return Data(train=train_rows, valid=[row for split, row in fitting if split == "valid"], left_out=left_out)


def accumulate(model: PreTrainedModel, rows: Sequence[Row], *, config: SftConfig, share: float) -> float:
    """Adds the gradient of `share` x the mean loss over the rows' target tokens, a micro-batch at a time.

    The mean is over the tokens of all rows, so the micro-batch size changes nothing. Returns the mean loss.
    """
    targets = sum(row.targets for row in rows)
    total = 0.0
    for piece in micro_batches(range(len(rows)), config.micro_batch_size):
        with autocast(config.precision):
            nll = completion_nll(model, [rows[i] for i in piece])
        (nll * (share / targets)).backward()
        total += float(nll.detach())
    return total / targets


def completion_nll(model: PreTrainedModel, rows: Sequence[Row]) -> Tensor:
    """Sum of -log p over the rows' completion and end tokens, given their prompts."""
    ids, _ = pad([row.prompt + row.completion for row in rows], value=0)  # (B, T)
    where = completion_targets([(len(row.prompt), len(row.completion)) for row in rows], ids.shape[1])  # (B, T)
    targets = ids.roll(-1, dims=1)[where]  # (N,): position t predicts token t + 1
    body, head = body_and_head(model)
    # Padding stands on the right, out of causal attention's sight: no mask, and the fastest kernel.
    hidden = body(input_ids=ids.to(model.device), use_cache=False).last_hidden_state  # (B, T, D)
    return -token_logprobs(head, hidden[where.to(model.device)], targets.to(model.device)).sum()


def draw_texts(
    config: SftConfig, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, count: int, step: int
) -> list[Row]:
    """Windows of plain text for this step, the same for the same seed and step."""
    rng = random.Random(f"{config.seed} {step}")
    width = config.max_prompt_tokens + config.max_completion_tokens
    return [Row([], text_window(tokenizer, rng.choice(texts), width, rng), []) for _ in range(count)]


@torch.no_grad()
def evaluate(
    config: SftConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: Data,
    judge: Judge | None,
    *,
    before: list[str],
) -> tuple[dict[str, float], tuple[Sample, ...]]:
    """Validation loss, validation reward where there is a judge, and what the model writes now."""
    model.eval()
    seen: dict[str, float] = {}
    if data.valid:
        seen["valid_loss"] = _mean_nll(model, data.valid)
    rows = looked_at(config, data, judge)
    after = write(config, model, tokenizer, rows)
    rewards_before, rewards_after = _rewards(judge, rows, before), _rewards(judge, rows, after)
    if judge:
        seen["reward"] = sum(rewards_after) / len(rows)
        seen["reward_of_base"] = sum(rewards_before) / len(rows)
    shown = zip(rows, before, after, rewards_before, rewards_after, strict=True)
    samples = [Sample(row.messages[-1]["content"], *rest) for row, *rest in shown]
    return seen, tuple(samples[:SHOWN_SAMPLES])


def looked_at(config: SftConfig, data: Data, judge: Judge | None) -> list[Row]:
    """The prompts that are answered each epoch: validation ones, or training ones where there are none."""
    return (data.valid or data.train)[: config.evaluation_prompts if judge else SHOWN_SAMPLES]


def write(
    config: SftConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row]
) -> list[str]:
    """Greedy completions of the rows' prompts."""
    decoding = Decoding(max_new_tokens=config.max_completion_tokens, eos_ids=stop_ids(model, tokenizer), temperature=0)
    unused = torch.zeros(len(rows), 1, config.max_completion_tokens)  # greedy decoding draws no numbers
    drawn = draw_completions(model.eval(), [row.prompt for row in rows], unused, decoding=decoding)
    return [decode_completion(tokenizer, only.tokens) for (only,) in drawn]


def _mean_nll(model: PreTrainedModel, rows: Sequence[Row]) -> float:
    by_length = sorted(rows, key=len)
    pieces = micro_batches(range(len(by_length)), EVALUATION_BATCH)
    total = sum(float(completion_nll(model, [by_length[i] for i in piece])) for piece in pieces)
    return total / sum(row.targets for row in rows)


def _rewards(judge: Judge | None, rows: Sequence[Row], texts: Sequence[str]) -> list[Any]:
    if judge is None:
        return [None] * len(rows)
    scores: list[float] = []
    for row, text in zip(rows, texts, strict=True):
        prompt = encode_prompt(judge.tokenizer, row.messages)
        scores += judge.model.score_completions([prompt], [[encode_completion(judge.tokenizer, text)]]).tolist()
    return scores


def _load_judge(config: SftConfig, path: Path | None) -> Judge | None:
    if path is None:
        return None
    judge = Judge(load_reward_model(path), load_tokenizer(path))
    require_room(config, context_of(judge.model.body.config))
    return judge


def _keep_if_best(extra: Json, seen: Json, model: PreTrainedModel, checkpoints: Path) -> Json:
    """Notes the epoch and, if none before was as good, keeps its weights."""
    epochs = [*extra["epochs"], seen]
    if any(_merit(other) >= _merit(seen) for other in extra["epochs"]):
        return {**extra, "epochs": epochs}
    checkpoints.mkdir(parents=True, exist_ok=True)
    file = _best_file(checkpoints, int(seen["epoch"]))
    weights = {name: p.contiguous().clone() for name, p in trainable(model).items()}
    save_file(weights, file.with_suffix(".partial"))
    file.with_suffix(".partial").replace(file)
    return {**extra, "epochs": epochs, "best": int(seen["epoch"]), "previous_best": extra["best"]}


def _merit(seen: Json) -> float:
    """What epochs are compared by: reward, else validation loss; without either the later epoch is the better."""
    if "reward" in seen:
        return seen["reward"]
    return -seen["valid_loss"] if "valid_loss" in seen else seen["epoch"]


def _best_file(checkpoints: Path, epoch: int) -> Path:
    return checkpoints / f"best-{epoch:04d}.safetensors"


def _save(checkpoints: Path, step: int, model: PreTrainedModel, optimizer: torch.optim.Optimizer, extra: Json) -> None:
    """A checkpoint; then the weights of epochs that neither it nor the one before it calls the best may go."""
    save_checkpoint(checkpoints, step, modules={"model": model}, optimizers={"adamw": optimizer}, extra=extra)
    named = {_best_file(checkpoints, extra["best"]), _best_file(checkpoints, extra["previous_best"])}
    for old in set(checkpoints.glob("best-*.safetensors")) - named:
        old.unlink()


def _card_text(judge: Judge | None, data: Data) -> str:
    if judge and data.valid:
        return "The epoch was chosen by the reward of greedy completions of validation prompts."
    if judge:
        return "No validation split: the epoch was chosen by the reward of greedy completions of training prompts."
    return "The epoch was chosen by validation loss." if data.valid else "No validation split: the last epoch is kept."
