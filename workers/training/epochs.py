"""After each epoch of fine-tuning: how good the model is now, and whether this epoch is the one to keep (App. C.1)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from app.runs.configs import SftConfig
from workers.training.batching import decode_completion
from workers.training.checkpoints import trainable
from workers.training.demonstrations import Data, Row
from workers.training.judge import Judge, load_judge
from workers.training.limits import require_room
from workers.training.loop import Sample
from workers.training.models import context_of
from workers.training.nll import mean_nll
from workers.training.processes import is_main
from workers.training.rollout import Decoding, draw_completions, stop_ids

SHOWN_SAMPLES = 4


@dataclass(frozen=True, slots=True)
class Record:
    """What the finished epochs were like; all of a run's state beside model, optimizer and random numbers."""

    before: list[str]  # what the model wrote before the first step
    epochs: list[dict[str, float]] = field(default_factory=list)
    best: int = 0  # numbers from 1
    previous_best: int = 0


def choosing_judge(config: SftConfig, path: Path | None) -> Judge | None:
    """The reward model that chooses among epochs; none if none is given."""
    if path is None:
        return None
    judge = load_judge(path)
    require_room(config, context_of(judge.model.body.config))
    return judge


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
        seen["valid_loss"] = mean_nll(model, data.valid)
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


def _rewards(judge: Judge | None, rows: Sequence[Row], texts: Sequence[str]) -> list[Any]:
    if judge is None:
        return [None] * len(rows)
    return [judge.rewards(row.messages, [text], cut=True)[0] for row, text in zip(rows, texts, strict=True)]


def noted(record: Record, seen: dict[str, float], model: PreTrainedModel, checkpoints: Path) -> Record:
    """The record with this epoch in it; if none before was as good, its weights are kept."""
    epochs = [*record.epochs, seen]
    if any(_merit(other) >= _merit(seen) for other in record.epochs):
        return replace(record, epochs=epochs)
    if is_main():
        _keep(model, _weights_of(checkpoints, len(epochs)))
    return replace(record, epochs=epochs, best=len(epochs), previous_best=record.best)


def _keep(model: PreTrainedModel, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: p.contiguous().clone() for name, p in trainable(model).items()}
    save_file(weights, file.with_suffix(".partial"))
    file.with_suffix(".partial").replace(file)


def _merit(seen: dict[str, float]) -> float:
    """What epochs are compared by: reward, else validation loss; without either the later epoch is the better."""
    if "reward" in seen:
        return seen["reward"]
    return -seen["valid_loss"] if "valid_loss" in seen else seen["epoch"]


def take_best(record: Record, model: PreTrainedModel, checkpoints: Path) -> dict[str, float]:
    """Gives the model the best epoch's weights; what that epoch was like."""
    model.load_state_dict(load_file(_weights_of(checkpoints, record.best)), strict=False)
    return {f"best_{name}": value for name, value in record.epochs[record.best - 1].items()}


def drop_others(record: Record, checkpoints: Path) -> None:
    """Weights of epochs that neither this checkpoint nor the one before it calls the best may go."""
    named = {_weights_of(checkpoints, record.best), _weights_of(checkpoints, record.previous_best)}
    for old in set(checkpoints.glob("best-*.safetensors")) - named if is_main() else ():
        old.unlink()


def _weights_of(checkpoints: Path, epoch: int) -> Path:
    return checkpoints / f"best-{epoch:04d}.safetensors"


def how_chosen(judge: Judge | None, data: Data) -> str:
    """For the model card."""
    if judge and data.valid:
        return "The epoch was chosen by the reward of greedy completions of validation prompts."
    if judge:
        return "No validation split: the epoch was chosen by the reward of greedy completions of training prompts."
    return "The epoch was chosen by validation loss." if data.valid else "No validation split: the last epoch is kept."
