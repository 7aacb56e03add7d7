"""How fast PPO is beside TRL 1.12, the last version that had it: same model, prompts, settings and threads, in turn.

    python -m benchmarks.ppo                                  # every case, on 2 threads
    python -m benchmarks.ppo --threads 1 --cases 4-full

A model of 4 layers x 256 (4.2 M parameters) with random weights, 64 episodes of 64 + 48 tokens an iteration, in
minibatches of 16. Each side runs whole in a process of its own, `--rounds` times in turn; a figure is the median of its
iterations, the first of each process left out. CPU seconds are what the process itself computed, which other programs
on the machine change little. `1-ragged` has prompts of 16 to 64 tokens and completions that end.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.ppo_world import EPISODES, write_models
from benchmarks.trl_environment import python_with_trl

ROOT = Path(__file__).parents[1]
CASES = {  # name: inner epochs, ragged
    "4-full": (4, False),
    "1-full": (1, False),
    "1-ragged": (1, True),
}
ENDS = 0.03  # chance of an end at each token of a ragged episode
COLUMNS = (
    "threads", "inner epochs, lengths", "ours, episodes/s", "TRL", "ratio", "CPU s an iteration", "TRL", "ratio",
    "peak MiB", "TRL", "start, s", "TRL",
)  # fmt: skip


def side(python: Path, module: str, folder: Path, case: dict[str, Any]) -> dict[str, Any]:
    """One whole run of one side, in its own process."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(case["threads"])}
    command = [python, "-W", "ignore", "-m", module, folder, json.dumps(case)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert found, done.stdout + done.stderr
    return json.loads(found[0].removeprefix("RESULT "))


def measure(folder: Path, *, name: str, threads: int, iterations: int, rounds: int) -> str:
    inner_epochs, ragged = CASES[name]
    case = {"inner_epochs": inner_epochs, "ragged": ragged, "iterations": iterations, "threads": threads}
    runs: dict[str, list[dict[str, Any]]] = {"ours": [], "trl": []}
    for _ in range(rounds):
        runs["ours"].append(side(Path(sys.executable), "benchmarks.ppo_ours", folder, case))
        runs["trl"].append(side(python_with_trl("1.12.0"), "benchmarks.ppo_trl", folder, case))
    assert all(run["optimizer_steps"] == 4 * inner_epochs * iterations for run in runs["trl"]), "TRL took fewer steps"
    rates = {
        who: EPISODES / statistics.median([took for run in those for took in run["iterations"][1:]])
        for who, those in runs.items()
    }
    work = {who: statistics.median([spent for run in those for spent in run["cpu"][1:]]) for who, those in runs.items()}
    peaks = {who: max(run["peak_mib"] for run in those) for who, those in runs.items()}
    starts = {who: min(run["start"] for run in those) for who, those in runs.items()}
    return (
        f"| {threads} | {inner_epochs}, {'ragged' if ragged else 'full'} | {rates['ours']:.2f} | {rates['trl']:.2f} "
        f"| {rates['ours'] / rates['trl']:.2f} | {work['ours']:.1f} | {work['trl']:.1f} "
        f"| {work['trl'] / work['ours']:.2f} | {peaks['ours']:.0f} | {peaks['trl']:.0f} | {starts['ours']:.1f} "
        f"| {starts['trl']:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|", flush=True)
    for name in asked.cases:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            write_models(folder, ends=ENDS if CASES[name][1] else 0.0)
            line = measure(folder, name=name, threads=asked.threads, iterations=asked.iterations, rounds=asked.rounds)
        print(line, flush=True)


if __name__ == "__main__":
    main()
