"""The clock that a TRL trainer is given, to be run where TRL is installed."""

import time
from typing import Any

from transformers import TrainerCallback


class Clock(TrainerCallback):
    """When each step began and ended, and what the first ones' losses were."""

    def __init__(self) -> None:
        self.begins: list[float] = []
        self.ends: list[float] = []
        self.losses: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.begins.append(time.time())

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.time())

    def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
        if "loss" in logs:
            self.losses.append(float(logs["loss"]))
