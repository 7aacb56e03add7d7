"""Runs a trainer in processes that are really killed: `python -m tests.workers.training.killed KIND BASE FOLDER`.

Each attempt is a fork that goes on where the one before died, and dies by SIGKILL at the next moment of a list:
after a step, while a checkpoint is renamed into place, while an old one is deleted. The last attempt is not killed.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from app.runs.configs import RewardModelConfig, SftConfig
from tests.workers.tiny import demonstrations, rankings
from workers.training import reward_model, sft
from workers.training.loop import Signal, Step

SHAPE = {"max_prompt_tokens": 40, "max_completion_tokens": 60, "batch_size": 4, "micro_batch_size": 2}
SHAPE |= {"checkpoint_every": 2, "learning_rate": 1e-3, "threads": 1}

Moment = tuple[str, int]  # ("step", 3): when step 3 is reported; ("os.rename", 2): at the second renaming

# 8 steps with a checkpoint at every second one, so each attempt gets further than its moment.
MOMENTS: list[Moment] = [
    ("step", 1),
    ("os.rename", 1),
    ("step", 2),
    ("step", 3),
    ("os.rename", 1),
    ("step", 5),
    ("shutil.rmtree", 1),
    ("step", 7),
    ("os.rename", 2),
]


def train(kind: str, base: Path, folder: Path, on_step: Callable[[Step], Signal]) -> None:
    places = {"base": base, "out": folder / "out", "checkpoints": folder / "checkpoints"}
    if kind == "sft":
        sft.train(SftConfig(epochs=4, dropout=0.2, **SHAPE), demonstrations(9, valid=2), on_step, **places)
    else:
        config = RewardModelConfig(epochs=4, **SHAPE)
        reward_model.train(config, rankings(9, valid=2), on_step, demonstrations=demonstrations(3), **places)


def die_at(moment: Moment) -> Callable[[Step], Signal]:
    """Arms this process; returns the `on_step` that kills at a step."""
    event, count = moment
    seen = 0

    def hook(name: str, _args: object) -> None:
        nonlocal seen
        if name == event:
            seen += 1
            if seen == count:
                os.kill(os.getpid(), signal.SIGKILL)

    def on_step(step: Step) -> Signal:
        if event == "step" and step.number == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return Signal.CONTINUE

    sys.addaudithook(hook)
    return on_step


def attempt(kind: str, base: Path, folder: Path, moment: Moment | None) -> int:
    """What ended the attempt: 0, or minus the signal."""
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        train(kind, base, folder, die_at(moment) if moment else lambda step: Signal.CONTINUE)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    given_kind, given_base, given_folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    for given_moment in [*MOMENTS, None]:
        print(given_moment, attempt(given_kind, given_base, given_folder, given_moment), flush=True)
