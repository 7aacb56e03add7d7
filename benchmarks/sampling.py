"""Our sampling beside transformers' `generate`: the same random model, prompts and rows in flight, in turn.

    python -m benchmarks.sampling --completions 4 9 --threads 2 --rounds 3

The model is a Llama of 4 layers x 256 (4.2 M parameters). 64 prompts of 64 tokens, K completions of at most 64 for
each, about 64 in flight at once, at temperature 1 from the whole distribution. `full`: no completion ends early;
`ends`: each ends at every token with a chance of about 3 %. `generate` gets as many prompts at a time as make the rows,
by num_return_sequences. New tokens a second, the median of the rounds; the first round of each warms up.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from benchmarks.reward_model import VOCABULARY, make_base
from workers.training.models import load_policy
from workers.training.rollout import Decoding, draw_completions, uniform_numbers

PROMPTS, PROMPT, NEW, ROWS = 64, 64, 64, 64
ENDS = {"full": [VOCABULARY], "ends": list(range(VOCABULARY - VOCABULARY * 3 // 100, VOCABULARY))}


def by_generate(model: PreTrainedModel, prompts: torch.Tensor, *, copies: int, ends: list[int]) -> int:
    """How many new tokens were written."""
    written = 0
    for some in prompts.split(ROWS // copies):
        out = model.generate(
            some, attention_mask=torch.ones_like(some), do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
            num_return_sequences=copies, max_new_tokens=NEW, eos_token_id=ends, pad_token_id=VOCABULARY - 1,
        )  # fmt: skip
        new = out[:, PROMPT:]
        ended = torch.isin(new, torch.tensor(ends)).long()
        written += int((ended.cumsum(dim=1) - ended == 0).sum())  # up to the first end, it among them
    return written


def by_ours(model: PreTrainedModel, prompts: torch.Tensor, *, copies: int, ends: list[int]) -> int:
    uniforms = uniform_numbers(1, "benchmark", shape=(len(prompts), copies, NEW))
    decoding = Decoding(max_new_tokens=NEW, eos_ids=frozenset(ends), rows=ROWS)
    drawn = draw_completions(model, prompts.tolist(), uniforms, decoding=decoding)
    return sum(len(completion.tokens) for own in drawn for completion in own)


def rate(write: Callable[..., int], model: PreTrainedModel, prompts: torch.Tensor, **how: object) -> float:
    began = time.perf_counter()
    return write(model, prompts, **how) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--completions", type=int, nargs="+", default=[4, 9])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    chance = random.Random(1)
    prompts = torch.tensor([[chance.randrange(2, VOCABULARY) for _ in range(PROMPT)] for _ in range(PROMPTS)])
    with tempfile.TemporaryDirectory() as place:
        make_base(Path(place))
        sides = {by_generate: AutoModelForCausalLM.from_pretrained(place).eval(), by_ours: load_policy(Path(place))}
    print(
        f"{given.threads} thread(s), new tokens/s\n| K | completions | generate | ours | ratio |\n|---|---|---|---|---|"
    )
    for copies in given.completions:
        for case, ends in ENDS.items():
            rates: dict[Callable[..., int], list[float]] = {write: [] for write in sides}
            for _ in range(given.rounds + 1):
                for write, model in sides.items():
                    rates[write].append(rate(write, model, prompts, copies=copies, ends=ends))
            theirs, ours = (statistics.median(those[1:]) for those in rates.values())
            print(f"| {copies} | {case} | {theirs:,.0f} | {ours:,.0f} | {ours / theirs:.2f} x |", flush=True)


if __name__ == "__main__":
    main()
