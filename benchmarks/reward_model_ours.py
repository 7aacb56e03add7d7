"""Our side of `benchmarks.reward_model`: trains as a worker would, and prints what it measured as JSON."""

import json
import resource
import sys
import time
from pathlib import Path

from app.datasets.examples import Ranking
from app.runs.configs import RewardModelConfig
from workers.training.loop import Signal, Step
from workers.training.reward_model import train


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    rankings = [
        Ranking(str(i), str(i), [{"role": "user", "content": row["prompt"]}], row["completions"],
                list(range(1, len(row["completions"]) + 1)), "train", "ann", "g")
        for i, row in enumerate(task["rankings"])
    ]  # fmt: skip
    config = RewardModelConfig(
        max_prompt_tokens=128, max_completion_tokens=64, batch_size=len(rankings), micro_batch_size=len(rankings),
        epochs=task["steps"], learning_rate=1e-4, checkpoint_every=1_000_000, threads=task["threads"],
    )  # fmt: skip
    ends: list[float] = []
    losses: list[float] = []
    seconds: list[float] = []

    def on_step(step: Step) -> Signal:
        ends.append(time.time())
        losses.append(step.metrics["loss"])
        seconds.append(step.metrics["prompts"] / step.metrics["prompts_per_second"])
        return Signal.CONTINUE

    train(config, rankings, on_step, base=Path(task["base"]), out=Path(task["place"], "out"),
          checkpoints=Path(task["place"], "checkpoints", str(time.time())))  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "losses": losses, "peak_mib": peak, "first_step_at": ends[0] - seconds[0]}))


if __name__ == "__main__":
    main()
