"""Several trainings as one run: their steps numbered through, each resumed where it was, none done twice."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from workers.training.checkpoints import complete_checkpoints
from workers.training.loop import CannotTrain, OnStep, Outcome, Signal, Step
from workers.training.processes import is_main


@dataclass(frozen=True, slots=True)
class Part:
    """One training of the run: its name, how many steps it takes, and what does it in a folder of its own."""

    name: str
    steps: int
    train: Callable[[OnStep, Path], Outcome]


@dataclass(slots=True)
class _Numbered:
    """The run's `on_step` as one part sees it."""

    on_step: OnStep
    number: int
    before: int
    total: int
    is_asked: bool = False  # to stop

    def __call__(self, step: Step) -> Signal:
        metrics = step.metrics | {"training": float(self.number)}
        signal = self.on_step(replace(step, number=self.before + step.number, total=self.total, metrics=metrics))
        self.is_asked = signal is Signal.STOP
        return signal


def train_in_turn(parts: Sequence[Part], on_step: OnStep, *, folder: Path, belongs_to: str) -> list[Outcome]:
    """Every part's outcome. The last one is unfinished, its step the run's, when the caller stopped the run."""
    total, before = sum(part.steps for part in parts), 0
    outcomes: list[Outcome] = []
    for number, part in enumerate(parts, 1):
        kept = folder / part.name / "outcome.json"
        if kept.is_file():
            outcomes.append(_read(kept, belongs_to))
            before += part.steps
            _clear(kept.parent)
            continue
        numbered = _Numbered(on_step, number, before, total)
        outcome = part.train(numbered, folder / part.name)
        if not outcome.finished:
            return [*outcomes, replace(outcome, step=before + outcome.step)]
        _write(kept, outcome, belongs_to)
        _clear(kept.parent)
        outcomes.append(outcome)
        before += part.steps
        if numbered.is_asked and before < total:
            return [*outcomes, Outcome(finished=False, step=before, metrics=outcome.metrics)]
    return outcomes


def _clear(folder: Path) -> None:
    """What led to an outcome that is kept is no longer needed."""
    for checkpoint in complete_checkpoints(folder) if is_main() else ():
        shutil.rmtree(checkpoint)


def _write(kept: Path, outcome: Outcome, belongs_to: str) -> None:
    """Whole or not at all."""
    if not is_main():
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    beside = kept.with_suffix(".partial")
    with beside.open("w") as file:
        json.dump({"belongs_to": belongs_to, "outcome": asdict(outcome)}, file)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(kept)


def _read(kept: Path, belongs_to: str) -> Outcome:
    found = json.loads(kept.read_text())
    if found["belongs_to"] != belongs_to:
        raise CannotTrain(
            f"{kept.parent.name} was trained with other settings or other data. Start a new run, or give this one an "
            "empty folder for its checkpoints."
        )
    return Outcome(**found["outcome"])
