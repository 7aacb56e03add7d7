"""Tiny runs of every trainer for several processes that torchrun starts: `... together MODELS FOLDER NAME...`.

`NAME@2` stops a run after its step 2. Each run's steps are written beside what it leaves, by the first process.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.workers.training import killed
from workers.training import processes
from workers.training.loop import OnStep, Signal, Step

# Adam divides a gradient by its own size, so that where there is next to none rounding alone decides the step; a large
# epsilon leaves the difference between runs what it is in the gradients.
SAME = {"adam_eps": 1e-3, "threads": 1}

RUNS: dict[str, Callable[[Path, Path, OnStep], None]] = {
    "sft": lambda *at: killed.train_sft(*at, **SAME, dropout=0.0, pretraining_mix=0.25, epochs=2),
    "sft-lora": lambda *at: killed.train_sft(*at, **SAME, dropout=0.0, lora_rank=2, epochs=2),
    "reward-model": lambda *at: killed.train_reward_model(*at, **SAME, epochs=2),
    "sft-sharded": lambda *at: killed.train_sft(
        *at,
        **SAME,
        dropout=0.0,
        pretraining_mix=0.25,
        epochs=2,
        processes=2,
        sharded=True,
        activation_checkpointing=True,
    ),
    "reward-model-sharded": lambda *at: killed.train_reward_model(*at, **SAME, epochs=2, processes=2, sharded=True),
    "ppo": lambda *at: killed.train_ppo(*at, **SAME, episodes=32),
    "ppo-lora": lambda *at: killed.train_ppo(*at, **SAME, lora_rank=2, episodes=16),
    "dpo": lambda *at: killed.train_dpo(*at, **SAME, epochs=2),
    "rloo": lambda *at: killed.train_rloo(*at, **SAME, episodes=32),
}


def run(name: str, models: Path, folder: Path, *, until: int = 0) -> None:
    """Trains, stopped after step `until` if one is given, and writes each step's figures."""
    steps: list[dict[str, Any]] = []

    def on_step(step: Step) -> Signal:
        steps.append({"step": step.number, **step.metrics})
        (folder / f"{name}-steps.json").write_text(json.dumps(steps))
        return Signal.STOP if step.number == until else Signal.CONTINUE

    RUNS[name](models, folder / name, processes.agreed(on_step))


if __name__ == "__main__":
    processes.join()
    torch.set_num_threads(1)
    for given in sys.argv[3:]:
        name, _, until = given.partition("@")
        run(name, Path(sys.argv[1]), Path(sys.argv[2]), until=int(until or 0))
    processes.leave()
