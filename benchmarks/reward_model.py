"""Our reward model beside TRL's: the same random model, rankings, seed and threads, one after the other.

    python -m benchmarks.reward_model --completions 9 --threads 1 --rounds 2

Every ranking is of one prompt of 128 tokens and K completions of 64. An optimizer step takes 4 rankings: for ours 4
elements with all their pairs, for TRL 4 x C(K, 2) pairs. Each side runs in a process of its own, twice in turn, and
its first step warms up. The losses of the first step are compared, so that both are known to do the same work.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.trl_environment import python_with_trl

TRL = "1.16.0"
PROMPT, COMPLETION, VOCABULARY, PROMPTS = 128, 64, 4096, 4
END, PAD = "<|end|>", "<|pad|>"
ROOT = Path(__file__).parents[1]


def make_base(folder: Path) -> None:
    """A random Llama of 4 layers and 256 dimensions (4.2 M parameters), whose tokens are words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {END: 0, PAD: 1} | {f"w{i}": i for i in range(2, VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=PAD))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD,
        chat_template="{% for message in messages %}{{ message['content'] }}{% endfor %}",
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=256, intermediate_size=688, num_hidden_layers=4, num_attention_heads=8,
        num_key_value_heads=8, max_position_embeddings=512, tie_word_embeddings=True, pad_token_id=1, eos_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


def make_rankings(completions: int) -> list[dict[str, Any]]:
    """Prompts and completions of random words, the completions best first; a completion's end token comes on top."""
    chance = random.Random(1)

    def some_words(count: int) -> str:
        return " ".join(f"w{chance.randrange(2, VOCABULARY)}" for _ in range(count))

    return [
        {"prompt": some_words(PROMPT), "completions": [some_words(COMPLETION - 1) for _ in range(completions)]}
        for _ in range(PROMPTS)
    ]


def run_side(python: Path | str, module: str, task: Path) -> dict[str, Any]:
    """What one process measured: seconds of each step, losses, MiB at the peak, seconds until its first step."""
    began = time.time()
    done = subprocess.run([python, "-m", module, task], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{module} failed:\n{done.stderr[-3000:]}")
    measured = json.loads(done.stdout.splitlines()[-1])
    return measured | {"start": measured["first_step_at"] - began}


def compare(completions: int, threads: int, rounds: int, steps: int) -> dict[str, dict[str, float]]:
    theirs, sides = python_with_trl(TRL), {"Touchstone": [], f"TRL {TRL}": []}
    with tempfile.TemporaryDirectory() as place:
        task = Path(place) / "task.json"
        make_base(Path(place) / "base")
        facts = {"base": f"{place}/base", "rankings": make_rankings(completions), "threads": threads, "steps": steps}
        task.write_text(json.dumps(facts | {"place": place}))
        for _ in range(rounds):
            sides["Touchstone"].append(run_side(sys.executable, "benchmarks.reward_model_ours", task))
            sides[f"TRL {TRL}"].append(run_side(theirs, "benchmarks.reward_model_trl", task))
    return {name: _summed_up(runs) for name, runs in sides.items()}


def _summed_up(runs: list[dict[str, Any]]) -> dict[str, float]:
    return {
        "step": statistics.median(seconds for run in runs for seconds in run["seconds"][1:]),
        "loss": runs[0]["losses"][0],
        "peak": min(run["peak_mib"] for run in runs),
        "start": min(run["start"] for run in runs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (("completions", 9), ("threads", 1), ("rounds", 2), ("steps", 3)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    given = parser.parse_args()
    found = compare(given.completions, given.threads, given.rounds, given.steps)
    ours, theirs = found.values()
    print(f"K = {given.completions}, {given.threads} thread(s)")
    print("| | prompts/s | peak memory | start-up | loss of step 1 |\n|---|---|---|---|---|")
    for name, side in found.items():
        print(f"| {name} | {PROMPTS / side['step']:.2f} | {side['peak']:.0f} MiB | {side['start']:.1f} s "
              f"| {side['loss']:.6f} |")  # fmt: skip
    print(f"| ratio | {theirs['step'] / ours['step']:.1f} x | {ours['peak'] / theirs['peak']:.2f} "
          f"| {ours['start'] / theirs['start']:.2f} | {ours['loss'] - theirs['loss']:+.1e} |")  # fmt: skip


if __name__ == "__main__":
    main()
