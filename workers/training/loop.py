"""What every trainer shares with its caller: the step it reports, the signal it gets back, and how it ends."""

import ctypes
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from torch import nn

from app.runs.configs import RunConfig, TrainingConfig
from workers.training.processes import add_up_gradients, whole

ALL_THREADS = torch.get_num_threads()
KEPT_BYTES = 1 << 30  # of freed memory, at most
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's names for what mallopt sets


class Signal(StrEnum):
    """The caller's answer to a step."""

    CONTINUE = "continue"
    STOP = "stop"


class CannotTrain(ValueError):
    """The run cannot work, known before it starts; the message is for the admin."""


class TrainingFailed(RuntimeError):
    """The run broke on its way, its last checkpoint kept; the message is for the admin."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the model wrote for a prompt before training and writes now, with rewards where a model gives them."""

    prompt: str
    before: str
    after: str
    reward_before: float | None = None
    reward_after: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step (PPO: one iteration), reported when it is done."""

    number: int  # from 1
    total: int
    metrics: dict[str, float]
    samples: tuple[Sample, ...] = ()
    checkpointed: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: finished, or stopped by its caller with a checkpoint to go on from."""

    finished: bool
    step: int
    metrics: dict[str, float]
    report: dict[str, Any] = field(default_factory=dict)  # what is no single figure, as JSON: a curve, a table


OnStep = Callable[[Step], Signal]


def cosine(step: int, total: int, *, end: float) -> float:
    """Factor of the peak learning rate for step 0..total-1: 1 at the first, `end` after the last; no warmup (C.1)."""
    return end + (1 - end) / 2 * (1 + math.cos(math.pi * min(step, total) / max(total, 1)))


def start(config: RunConfig) -> None:
    """Threads and every random state as the config says."""
    keep_freed_memory()
    torch.set_num_threads(config.threads or ALL_THREADS)
    random.seed(config.seed)
    np.random.seed(config.seed)
    torch.manual_seed(config.seed)


def keep_freed_memory() -> None:
    """Lets the process keep what a step frees for the next one, where the C library is glibc.

    Else it is given back and fetched again every few operations, page by page: a tenth of a small model's update.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_MMAP_THRESHOLD, KEPT_BYTES)
        set_option(_TRIM_THRESHOLD, KEPT_BYTES)


def adamw(parameters: Iterable[nn.Parameter], config: TrainingConfig, *, learning_rate: float) -> torch.optim.AdamW:
    """AdamW over what trains, in one fused kernel."""
    return torch.optim.AdamW(
        [p for p in parameters if p.requires_grad],
        lr=learning_rate,
        betas=(config.adam_beta1, config.adam_beta2),
        eps=config.adam_eps,
        weight_decay=config.weight_decay,
        fused=True,
    )


def take_step(
    optimizer: torch.optim.Optimizer, *, learning_rate: float, max_grad_norm: float, loss: float, step: int
) -> float:
    """Adds up the processes' gradients, clips, refuses what is not a number, moves the weights, clears the gradient.

    `loss` is the whole batch's, the same in all processes. Returns the gradient's length before clipping.
    """
    grad_norm = clip(optimizer, max_grad_norm=max_grad_norm)
    refuse_nan(loss, grad_norm, step=step)
    move(optimizer, learning_rate=learning_rate)
    return grad_norm


def clip(optimizer: torch.optim.Optimizer, *, max_grad_norm: float) -> float:
    """Adds up the processes' gradients and clips them; 0: to no length. Returns their length before that."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    add_up_gradients(parameters)
    return float(whole(nn.utils.clip_grad_norm_(parameters, max_grad_norm or math.inf)))


def move(optimizer: torch.optim.Optimizer, *, learning_rate: float) -> None:
    """Moves the weights at this learning rate and clears the gradient."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def refuse_nan(loss: float, grad_norm: float, *, step: int) -> None:
    """Stops a run whose numbers stopped being numbers, before the weights take them."""
    if math.isfinite(loss) and math.isfinite(grad_norm):
        return
    raise TrainingFailed(
        f"Step {step}: the loss is {loss} and the gradient's length {grad_norm}, so this step was not taken. "
        "The last checkpoint is kept. A lower learning rate is the usual cure."
    )
