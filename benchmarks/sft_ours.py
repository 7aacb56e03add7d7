"""Our side of `benchmarks.sft`: the trainer as it is, from the demonstrations' text to the model's folder."""

import json
import resource
import sys
import time
from pathlib import Path

from app.datasets.examples import Demonstration
from app.runs.configs import SftConfig
from workers.training import sft
from workers.training.loop import Signal, Step


class Clock:
    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.first_began = 0.0

    def __call__(self, step: Step) -> Signal:
        if not self.steps:
            self.first_began = time.time() - seconds(step)
        self.steps.append(step)
        return Signal.CONTINUE


def seconds(step: Step) -> float:
    return step.metrics["tokens"] / step.metrics["tokens_per_second"]


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    demonstrations = [
        Demonstration(str(number), [{"role": "user", "content": row["prompt"]}], row["completion"], "train")
        for number, row in enumerate(task["demonstrations"])
    ]
    config = SftConfig(
        epochs=2, batch_size=task["batch"], micro_batch_size=task["batch"], learning_rate=1e-4, dropout=0.0, seed=1,
        threads=task["threads"], max_prompt_tokens=task["longest"], max_completion_tokens=task["longest"] - 1,
        checkpoint_every=1_000_000,
    )  # fmt: skip
    clock, place = Clock(), Path(task["place"]) / f"ours-{task['round']}"
    places = {"base": Path(task["base"]), "out": place / "out", "checkpoints": place / "checkpoints"}
    sft.train(config, demonstrations, clock, **places)
    counted = clock.steps[len(clock.steps) // 2 :]
    print(json.dumps({
        "seconds": sum(map(seconds, counted)),
        "padding": sum(step.metrics["padding"] for step in counted) / len(counted),
        "first_loss": sum(step.metrics["loss"] for step in clock.steps[:2]) / 2,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "first_step_at": clock.first_began,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
