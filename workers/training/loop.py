"""What every trainer shares with its caller: the step it reports, the signal it gets back, and how it ends."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Signal(StrEnum):
    """The caller's answer to a step."""

    CONTINUE = "continue"
    STOP = "stop"


class CannotTrain(ValueError):  # noqa: N818
    """The run cannot work, known before it starts; the message is for the admin."""


class TrainingFailed(RuntimeError):  # noqa: N818
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


OnStep = Callable[[Step], Signal]


def cosine_to_tenth(step: int, total: int) -> float:
    """Factor of the peak learning rate for step 0..total-1: 1 at the first, 0.1 at the end, no warmup (App. C)."""
    return 0.1 + 0.45 * (1 + math.cos(math.pi * min(step, total) / max(total, 1)))


def refuse_nan(loss: float, grad_norm: float, *, step: int) -> None:
    """Stops a run whose numbers stopped being numbers, before the weights take them."""
    if math.isfinite(loss) and math.isfinite(grad_norm):
        return
    raise TrainingFailed(
        f"Step {step}: the loss is {loss} and the gradient's length {grad_norm}, so this step was not taken. "
        "The last checkpoint is kept. A lower learning rate is the usual cure."
    )
