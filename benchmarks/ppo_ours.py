"""Our side of the PPO benchmark: a whole run of the trainer; prints what it took."""

import json
import sys
import time

STARTED = time.perf_counter()

import resource  # noqa: E402
from itertools import pairwise  # noqa: E402
from pathlib import Path  # noqa: E402

from app.datasets.examples import Prompt  # noqa: E402
from app.runs.ppo_config import PpoConfig  # noqa: E402
from benchmarks.ppo_world import COMPLETION, EPISODES, MINIBATCH, PROMPT, token_prompts  # noqa: E402
from workers.training import ppo  # noqa: E402
from workers.training.loop import Signal, Step  # noqa: E402


def settings(*, inner_epochs: int, iterations: int, threads: int, seed: int = 1) -> PpoConfig:
    """The work that TRL does and no more: no plain text, no average of the weights, looks at the two ends only."""
    return PpoConfig(
        episodes=EPISODES * iterations, batch_size=EPISODES, minibatch_size=MINIBATCH, micro_batch_size=MINIBATCH,
        inner_epochs=inner_epochs, learning_rate=3e-6, value_learning_rate=3e-6, warmup_iterations=0, seed=seed,
        ptx_coefficient=0, ema=0, kl_coefficient=0.05, max_grad_norm=0, max_prompt_tokens=PROMPT, threads=threads,
        max_completion_tokens=COMPLETION, evaluation_prompts=1, evaluate_every=10_000, checkpoint_every=10_000,
    )  # fmt: skip


def main(folder: Path, *, inner_epochs: int, ragged: bool, iterations: int, threads: int) -> dict[str, object]:
    took: list[float] = []
    ended: list[float] = []
    computed = [time.process_time()]

    def on_step(step: Step) -> Signal:
        ended.append(time.perf_counter())
        computed.append(time.process_time())
        took.append(EPISODES / step.metrics["episodes_per_second"])
        return Signal.CONTINUE

    rows = token_prompts(EPISODES * iterations, ragged=ragged)
    prompts = [
        Prompt(str(i), [{"role": "user", "content": " ".join(f"w{token}" for token in ids)}], "train")
        for i, ids in enumerate(rows)
    ]
    ppo.train(
        settings(inner_epochs=inner_epochs, iterations=iterations, threads=threads), prompts, on_step,
        policy=folder / "policy", reward_model=folder / "reward", out=folder / "out",
        checkpoints=folder / "checkpoints",
    )  # fmt: skip
    return {
        "start": ended[0] - took[0] - STARTED,
        "iterations": took,
        "cpu": [after - before for before, after in pairwise(computed)],
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    print("RESULT", json.dumps(main(Path(sys.argv[1]), **json.loads(sys.argv[2]))))
