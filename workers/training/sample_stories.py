"""Sample story text from a small causal language model, as extra text to pretrain on.

    python -m workers.training.sample_stories --model stories260K --like train.jsonl.gz --out sampled.jsonl

A sample is kept only if it ended by itself, uses no word that the real stories lack, and does not repeat itself.
"""

import argparse
import json
import random
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from workers.training.corpus import CannotRead, read_texts

WORD = re.compile(r"[A-Za-z']+")


def words_of(text: str) -> list[str]:
    return [word.lower() for word in WORD.findall(text)]


def repeats_itself(words: list[str], *, size: int = 4, allowed: float = 0.1) -> bool:
    """True when more than `allowed` of the runs of `size` words have been said before."""
    runs = [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
    return bool(runs) and 1 - len(set(runs)) / len(runs) > allowed


def is_worth_keeping(text: str, known: set[str], *, shortest: int = 60) -> bool:
    words = words_of(text)
    return (
        len(words) >= shortest
        and text.rstrip().endswith((".", "!", '"'))
        and known.issuperset(words)
        and not repeats_itself(words)
    )


def openings(tokenizer, stories: Sequence[str], *, length: int) -> torch.Tensor:
    """The first `length` tokens of each story: real beginnings make the samples differ. Shape (stories, length)."""
    rows = [tokenizer(story, truncation=True, max_length=length)["input_ids"] for story in stories]
    return torch.tensor([row for row in rows if len(row) == length])


@torch.inference_mode()
def sample_batch(model, tokenizer, start: torch.Tensor, *, temperature: float, longest: int) -> list[str]:
    """A story for every row of `start`; those that ran into `longest` are dropped."""
    ids = model.generate(
        start, attention_mask=torch.ones_like(start), do_sample=True, temperature=temperature, top_k=0, top_p=0.95,
        max_new_tokens=longest - start.shape[1],
    )  # fmt: skip
    ends = {tokenizer.bos_token_id, tokenizer.eos_token_id}
    ended = [row for row in ids[:, 1:].tolist() if ends & set(row)]
    return [tokenizer.decode(row, skip_special_tokens=True).strip() for row in ended]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of the model to sample from")
    parser.add_argument("--like", type=Path, required=True, help="JSONL of real stories, whose words are allowed")
    parser.add_argument("--sources", default="tinystories,tinystories_truecased", help="sources of --like to count")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=2500)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--temperature", type=float, default=0.6)
    parser.add_argument("--longest", type=int, default=480, help="tokens of the sampled model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    try:
        real = [text.text for text in read_texts([args.like], args.sources.split(","))]
    except CannotRead as reason:
        parser.error(str(reason))
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    known = {word for story in real for word in words_of(story)}
    chance = random.Random(args.seed)
    kept = drawn = 0
    with args.out.open("w", encoding="utf-8") as out:
        while kept < args.count:
            start = openings(tokenizer, chance.sample(real, args.batch), length=chance.randint(6, 40))
            stories = sample_batch(model, tokenizer, start, temperature=args.temperature, longest=args.longest)
            drawn += args.batch
            for story in stories:
                if kept < args.count and is_worth_keeping(story, known):
                    out.write(json.dumps({"source": "sampled", "text": story}) + "\n")
                    kept += 1
            out.flush()
            print(f"kept {kept} of {drawn}", flush=True)


if __name__ == "__main__":
    main()
