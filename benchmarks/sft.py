"""Our supervised fine-tuning beside TRL's: the same random model, demonstrations, seed and threads, in turn.

    python -m benchmarks.sft --lengths ragged --threads 2 --rounds 2

The model is a Llama of 4 layers x 256 (4.2 M parameters) whose tokens are words. `fixed`: every demonstration has 256
tokens, a quarter of them the prompt; `ragged`: 32 to 256. An optimizer step takes 16. Each side runs in a process of
its own, for two epochs, of which the second counts: the tokens of the demonstrations, padding not among them, by the
seconds of its steps. TRL is measured as it pads by itself, as it groups by length and as it packs.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.reward_model import TRL, VOCABULARY, make_base, run_side
from benchmarks.trl_environment import python_with_trl

LONGEST, SHORTEST, STEPS, BATCH = 256, 32, 12, 16
TRL_WAYS = {
    "fixed": {"pads": {}},
    "ragged": {
        "pads": {},
        "groups by length": {"train_sampling_strategy": "group_by_length"},
        "packs": {"packing": True, "max_length": LONGEST * 4},
    },
}


def make_demonstrations(lengths: str) -> list[dict[str, str]]:
    """Prompts and completions of random words; a completion's end token comes on top and is counted."""
    chance = random.Random(1)

    def some_words(count: int) -> str:
        return " ".join(f"w{chance.randrange(2, VOCABULARY)}" for _ in range(count))

    tokens = [LONGEST if lengths == "fixed" else chance.randint(SHORTEST, LONGEST) for _ in range(STEPS * BATCH)]
    return [{"prompt": some_words(n // 4), "completion": some_words(n - n // 4 - 1), "tokens": n} for n in tokens]


def compare(lengths: str, *, threads: int, rounds: int) -> dict[str, dict[str, float]]:
    """Tokens a second, MiB and seconds to the first step of each side."""
    demonstrations = make_demonstrations(lengths)
    runs: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as place:
        make_base(Path(place) / "base")
        facts = {"base": f"{place}/base", "place": place, "threads": threads, "batch": BATCH, "longest": LONGEST}
        facts["demonstrations"] = demonstrations
        sides = {"Touchstone": (sys.executable, "benchmarks.sft_ours", {})}
        for way, options in TRL_WAYS[lengths].items():
            sides[f"TRL {TRL}, {way}"] = (python_with_trl(TRL), "benchmarks.sft_trl", options)
        for number in range(rounds):
            for name, (python, module, options) in sides.items():
                task = Path(place) / "task.json"
                task.write_text(json.dumps(facts | {"options": options, "round": number}))
                runs.setdefault(name, []).append(run_side(python, module, task))
    tokens = sum(demonstration["tokens"] for demonstration in demonstrations)
    return {
        name: {
            "rate": statistics.median(tokens / run["seconds"] for run in own),
            "loss": own[0]["first_loss"],
            "padding": own[0]["padding"],
            "peak": min(run["peak_mib"] for run in own),
            "start": min(run["start"] for run in own),
        }
        for name, own in runs.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", choices=list(TRL_WAYS), default="ragged")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    found = compare(given.lengths, threads=given.threads, rounds=given.rounds)
    ours = found["Touchstone"]["rate"]
    print(f"{given.lengths}, {given.threads} thread(s)")
    print(
        "| | tokens/s | ours to it | padding | peak memory | start-up | loss of the first steps |\n" + 7 * "|---" + "|"
    )
    for name, side in found.items():
        print(f"| {name} | {side['rate']:,.0f} | {ours / side['rate']:.2f} x | {side['padding']:.1%} "
              f"| {side['peak']:.0f} MiB | {side['start']:.1f} s | {side['loss']:.4f} |")  # fmt: skip


if __name__ == "__main__":
    main()
