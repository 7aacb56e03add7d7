"""Pretrain a small Llama-style base model on stories, on CPU, in a given number of minutes or steps.

    python -m workers.training.pretrain --text train.jsonl.gz --sources tinystories --out DIR --minutes 60

Not part of the paper, which starts from GPT-3: it makes the starter model, so that the loop can be tried at once.
Matrices are trained by Muon, embeddings and norms by AdamW; the learning rate stays level, then falls to nothing.
The weights written to --out are a running average of the trained ones; --resume goes on after a kill.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from workers.training.base_model import as_tensors, build_model, build_optimizers, export
from workers.training.corpus import CannotRead, Corpus, SourcedText, pack_rows, read_texts, train_tokenizer
from workers.training.heldout import measure, write_samples


class CannotPretrain(ValueError):
    """Settings that cannot work: what is wrong and how to mend it."""


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--text", type=Path, nargs="+", required=True, help='JSONL of {"source", "text"}, plain or .gz')
    add("--sources", type=lambda names: names.split(","), required=True, help="sources that are stories, by comma")
    add("--beside", type=lambda names: names.split(","), default=[], help="sources read until the rate falls")
    add("--valid", type=Path, nargs="*", default=[], help="JSONL held out to measure on; else 1 story in 50")
    add("--out", type=Path, required=True, help="folder for the model; its checkpoint lies in OUT/checkpoint")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, help="train for this long; the schedule follows the clock")
    budget.add_argument("--steps", type=int, help="train for this many steps")
    add("--threads", type=int, default=0, help="CPU threads (0: torch's own choice)")
    add("--seed", type=int, default=1)
    add("--resume", action="store_true", help="go on from OUT/checkpoint")
    add("--layers", type=int, default=5)
    add("--width", type=int, default=256)
    add("--heads", type=int, default=8)
    add("--vocabulary", type=int, default=4096)
    add("--context", type=int, default=512)
    add("--batch", type=int, default=8, help="rows of --context tokens in a step")
    add("--titled", type=float, default=0.35, help="share of stories that get a title made from their words")
    add("--titled-late", type=float, default=0.7, help="the same, once the rate falls")
    add("--matrix-rate", type=float, default=0.02, help="Muon's learning rate")
    add("--other-rate", type=float, default=0.003, help="AdamW's learning rate")
    add("--decay", type=float, default=0.45, help="last share of the budget in which the rate falls to nothing")
    add("--average", type=float, default=0.99, help="running average of the weights, per step")
    add("--save-every", type=float, default=4.0, help="minutes between checkpoints")
    return parser.parse_args(arguments)


def rate_at(share: float, *, warmup: float = 0.01, decay: float) -> float:
    """The learning rate's factor when `share` of the budget is used: rise, stay level, fall to nothing."""
    if share < warmup:
        return max(share / warmup, 0.02)
    return min(1.0, max(0.0, (1 - share) / decay))


@dataclass
class Progress:
    """Where the run is; lies in the checkpoint."""

    step: int = 0
    epoch: int = 0
    row: int = 0  # rows of this epoch already read
    only_stories: bool = False  # what this epoch is made of, decided at its start
    tokens: int = 0
    seconds: float = 0.0

    def share(self, args: argparse.Namespace) -> float:
        return self.step / args.steps if args.steps else self.seconds / (60 * args.minutes)


class Run:
    """One pretraining run: its text, model, optimizers, running average and progress."""

    def __init__(self, args: argparse.Namespace, corpus: Corpus, tokenizer: PreTrainedTokenizerFast) -> None:
        torch.manual_seed(args.seed)
        self.args, self.corpus, self.tokenizer = args, corpus, tokenizer
        self.model = build_model(
            layers=args.layers,
            width=args.width,
            heads=args.heads,
            vocabulary=args.vocabulary,
            context=args.context,
        )
        self.optimizers = build_optimizers(self.model, matrix_rate=args.matrix_rate, other_rate=args.other_rate)
        self.average = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.progress = Progress()

    def rows(self) -> Iterator[list[int]]:
        """Rows without end, from where the run is; text beside the stories ends when the learning rate falls."""
        at = self.progress
        while True:
            if at.row == 0:
                at.only_stories = at.share(self.args) >= 1 - self.args.decay
            titled = self.args.titled_late if at.only_stories else self.args.titled
            documents = self.corpus.documents(
                at.epoch, seed=self.args.seed, titled=titled, only_stories=at.only_stories
            )
            ids = [document.ids for document in self.tokenizer.backend_tokenizer.encode_batch(documents)]
            rows = pack_rows(ids, context=self.args.context, end=self.tokenizer.eos_token_id)
            if not rows:
                raise CannotPretrain(f"no document fits into a context of {self.args.context}; raise --context")
            while at.row < len(rows):
                at.row += 1
                yield rows[at.row - 1]
            at.epoch, at.row = at.epoch + 1, 0

    def step(self, rows: list[list[int]]) -> float:
        input_ids, labels = as_tensors(rows, pad=self.tokenizer.pad_token_id)
        with torch.autocast("cpu", torch.bfloat16):
            loss = self.model(input_ids=input_ids, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        factor = rate_at(self.progress.share(self.args), decay=self.args.decay)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.update_average()
        self.progress.step += 1
        self.progress.tokens += sum(map(len, rows))
        return loss.item()

    @torch.no_grad()
    def update_average(self) -> None:
        keep = min(self.args.average, self.progress.step / (self.progress.step + 10))
        for name, parameter in self.model.named_parameters():
            self.average[name].lerp_(parameter, 1 - keep)

    def averaged_model(self) -> LlamaForCausalLM:
        model = LlamaForCausalLM(self.model.config)
        model.load_state_dict(self.average, strict=False)  # the tied head is not listed twice
        model.tie_weights()
        return model.eval()

    def save(self) -> None:
        """The checkpoint, written beside and renamed, then the averaged model as an ordinary folder."""
        folder = self.args.out / "checkpoint"
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": vars(self.progress),
            "identity": identity(self.args, self.tokenizer),
        }
        torch.save(state, folder / "state.pt.new")
        (folder / "state.pt.new").replace(folder / "state.pt")
        export(self.averaged_model(), self.tokenizer, self.args.out)

    def load(self) -> None:
        path = self.args.out / "checkpoint" / "state.pt"
        try:
            state = torch.load(path, weights_only=True)
        except FileNotFoundError:
            raise CannotPretrain(f"{path} does not exist: nothing to resume; leave out --resume to start") from None
        if state["identity"] != identity(self.args, self.tokenizer):
            raise CannotPretrain(f"{path} comes from another text, shape or seed; use its settings or a new --out")
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.progress = Progress(**state["progress"])


def identity(args: argparse.Namespace, tokenizer: PreTrainedTokenizerFast) -> str:
    """What must be the same for a checkpoint to be continued."""
    words = hashlib.sha256(json.dumps(tokenizer.get_vocab(), sort_keys=True).encode()).hexdigest()
    return json.dumps([args.layers, args.width, args.heads, args.vocabulary, args.context, args.seed, words])


def report(run: Run, valid: Sequence[str], *, samples: bool) -> None:
    model = run.averaged_model()
    with torch.random.fork_rng():
        line = {"step": run.progress.step, "epoch": run.progress.epoch, "tokens": run.progress.tokens}
        line |= {"minutes": run.progress.seconds / 60, **measure(model, run.tokenizer, valid)}
        print(json.dumps(line), flush=True)
        for sample in write_samples(model, run.tokenizer) if samples else []:
            print(f"--- {sample}", flush=True)


def train(run: Run, valid: Sequence[str]) -> None:
    """Steps until the budget is used, with a checkpoint every few minutes and at the end."""
    rows, saved = run.rows(), time.monotonic()
    run.model.train()
    while run.progress.share(run.args) < 1:
        started = time.monotonic()
        loss = run.step([next(rows) for _ in range(run.args.batch)])
        run.progress.seconds += time.monotonic() - started
        if run.progress.step % 50 == 0:
            print(f"step {run.progress.step} loss {loss:.3f} minutes {run.progress.seconds / 60:.1f}", flush=True)
        if time.monotonic() - saved > 60 * run.args.save_every:
            run.save()
            report(run, valid[:25], samples=False)
            saved = time.monotonic()
    run.save()
    report(run, valid, samples=True)


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse what cannot work before any text is read."""
    too_small = [
        f"--{name} must be at least {least}, not {getattr(args, name)}"
        for name, least in (("layers", 1), ("heads", 1), ("vocabulary", 300), ("context", 16), ("batch", 1))
        if getattr(args, name) < least
    ]
    if too_small:
        raise CannotPretrain("; ".join(too_small))
    if args.width < 2 * args.heads or args.width % (2 * args.heads):
        raise CannotPretrain(f"--width {args.width} must be a multiple of twice --heads ({args.heads})")
    if (args.minutes if args.steps is None else args.steps) <= 0:
        raise CannotPretrain("--minutes or --steps must be more than 0")
    for name in ("titled", "titled_late", "decay", "average"):
        if not 0 <= getattr(args, name) <= 1 or (name == "decay" and args.decay == 0):
            raise CannotPretrain(
                f"--{name.replace('_', '-')} is a share: give a number between 0 and 1, not {getattr(args, name)}"
            )
    if (args.out / "checkpoint").exists() and not args.resume:
        raise CannotPretrain(f"{args.out} already holds a run; go on with --resume or name another --out")


def held_out(texts: list[SourcedText], args: argparse.Namespace) -> tuple[list[SourcedText], list[str]]:
    """The texts to train on, and stories to measure on: those of --valid, or else every fiftieth."""
    if not args.valid:
        places = [place for place, text in enumerate(texts) if text.source in args.sources][::50]
        return [text for place, text in enumerate(texts) if place not in places], [texts[at].text for at in places]
    valid = [text.text for text in read_texts(args.valid) if text.source in args.sources]
    if not valid:
        raise CannotPretrain(f"--valid holds no story of {', '.join(args.sources)}; name a file that does")
    return texts, valid


def prepare(args: argparse.Namespace) -> tuple[Run, list[str]]:
    """The run, resumed or new, and the held-out stories. The tokenizer is made anew: the same text gives the same."""
    check_arguments(args)
    texts, valid = held_out(read_texts(args.text, [*args.sources, *args.beside]), args)
    corpus = Corpus.of(texts, stories=args.sources, context=args.context)
    documents = corpus.documents(0, seed=args.seed, titled=args.titled, only_stories=False)
    tokenizer = train_tokenizer(documents, vocabulary=args.vocabulary, context=args.context)
    run = Run(args, corpus, tokenizer)
    if args.resume:
        run.load()
    return run, valid


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse_arguments(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        run, valid = prepare(args)
        size = sum(p.numel() for p in run.model.parameters())
        print(
            f"{size} parameters, {len(run.corpus.stories)} stories, {len(run.corpus.beside)} texts beside", flush=True
        )
        train(run, valid)
    except (CannotRead, CannotPretrain) as reason:
        raise SystemExit(f"pretrain: {reason}") from None
    except KeyboardInterrupt:
        raise SystemExit("pretrain: stopped; --resume goes on from the last checkpoint") from None


if __name__ == "__main__":
    main()
