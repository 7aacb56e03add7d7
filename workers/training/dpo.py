"""A policy from rankings alone, without a reward model: DPO (Rafailov et al. 2023), cDPO and IPO. Not in the paper.

    dpo.train(DpoConfig(), rankings, on_step, base=sft, out=folder, checkpoints=folder)

It reads what the reward model reads, in the same way: one prompt with all its ranked completions is one element of the
batch, every untied pair of them counts, each completion is encoded once and the prompt once for all of them. The
reference is the policy that training starts from: its log-probabilities are taken once, before the first step, and
kept beside the checkpoints, so no second model stays in memory. Dropout off.
Simplified: the last step is kept.
"""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from app.datasets.examples import Ranking
from app.runs.newer_configs import DpoConfig
from workers.rlhf.losses import pair_weights
from workers.rlhf.preference_losses import dpo_loss, ipo_loss
from workers.training.accuracy import clustered_accuracy
from workers.training.adapters import add_lora, lora_off, merge_lora
from workers.training.batching import decode_completion, encode_prompt, micro_batches
from workers.training.cards import model_card
from workers.training.checkpoints import fingerprint, load_newest, refuse_foreign, saving_checkpoint, tell
from workers.training.completion_logprobs import completion_logprobs
from workers.training.loop import OnStep, Outcome, Sample, Signal, Step, adamw, cosine, start, take_step
from workers.training.models import autocast, context_of, load_policy, load_tokenizer, save_policy
from workers.training.processes import everyones, from_main, is_main, share
from workers.training.rankings import Element, Elements, batches, pairs_of, prepare
from workers.training.recomputing import recomputing
from workers.training.rollout import Decoding, draw_completions, stop_ids

SHOWN_SAMPLES = 4
REFERENCE_FILE = "reference.safetensors"


@dataclass(frozen=True, slots=True)
class Known:
    """A prompt's rankings, and what the reference says of its completions: log-probabilities (K,), in nats."""

    element: Element
    reference: Tensor

    def __len__(self) -> int:
        """Tokens that are encoded for it."""
        return len(self.element)


@dataclass(slots=True)
class Tally:
    """What a batch's pairs came to: the loss a mean over prompts, the rest sums over pairs."""

    loss: float = 0.0
    margin: float = 0.0  # beta * (log-ratio of the winner - of the loser), as the loss has them
    chosen: float = 0.0  # change of the winners' log-probability since the start, nats
    rejected: float = 0.0
    right: list[float] = field(default_factory=list)  # of each prompt's pairs; equal log-ratios count one half
    pairs: list[int] = field(default_factory=list)  # of each prompt

    def figures(self) -> dict[str, float]:
        pairs = sum(self.pairs)
        means = {"margin": self.margin, "chosen_change": self.chosen, "rejected_change": self.rejected}
        return {"loss": self.loss, "accuracy": sum(self.right) / pairs} | {k: v / pairs for k, v in means.items()}


@dataclass(frozen=True, slots=True)
class LookedAt:
    """A prompt that is answered at each look."""

    text: str
    tokens: list[int]


def train(
    config: DpoConfig, rankings: Sequence[Ranking], on_step: OnStep, *, base: Path, out: Path, checkpoints: Path
) -> Outcome:
    """Trains the policy in `base` on the rankings and writes it to `out`; resumes from `checkpoints`."""
    # 1. What cannot work is said before anything is done.
    start(config)
    tokenizer, model = load_tokenizer(base), load_policy(base)
    elements = prepare(config, rankings, tokenizer, context=context_of(model.config))
    shown = prompts_to_show(config, rankings, tokenizer)
    belongs_to = fingerprint(config, rankings)

    # 2. What trains, and what the reference says: the adapters, new as they are, are off for it.
    if config.lora_rank:
        add_lora(model, config.lora_rank)
    train_set, valid_set = with_reference(config, model, elements, checkpoints / REFERENCE_FILE, mark=belongs_to)
    optimizer = adamw(model.parameters(), config, learning_rate=config.learning_rate)
    steps_per_epoch = -(-len(train_set) // config.batch_size)
    total = config.epochs * steps_per_epoch

    # 3. Where the run was, if it was on its way before.
    checkpoint = load_newest(checkpoints, modules={"model": model}, optimizers={"adamw": optimizer})
    if checkpoint:
        refuse_foreign(checkpoint, belongs_to)
        extra = checkpoint.extra
    else:
        extra = {"belongs_to": belongs_to, "before": from_main(lambda: write(config, model, tokenizer, shown))}

    # 4. One optimizer step after the other. The model stays in evaluation mode: dropout would move the log-ratios.
    ordered = batches(config, train_set, epochs=config.epochs, after=checkpoint.step if checkpoint else 0)
    for number, batch in ordered:
        began = time.perf_counter()
        with recomputing(model, wanted=config.activation_checkpointing):
            tally = accumulate(config, model, batch)
        learning_rate = config.learning_rate * cosine(number - 1, total, end=config.final_learning_rate)
        grad_norm = take_step(
            optimizer, learning_rate=learning_rate, max_grad_norm=config.max_grad_norm, loss=tally.loss, step=number
        )
        metrics = tally.figures() | {"pairs": float(sum(tally.pairs)), "prompts": float(len(batch))}
        metrics |= {"learning_rate": learning_rate, "grad_norm": grad_norm, "epoch": number / steps_per_epoch}
        metrics["prompts_per_second"] = len(batch) / (time.perf_counter() - began)

        # 5. Now and then: how it does on rankings it never saw, and what it writes.
        samples: tuple[Sample, ...] = ()
        if number % config.evaluate_every == 0 or number == total:
            metrics |= from_main(lambda: held_out(config, model, valid_set))
            after = from_main(lambda: write(config, model, tokenizer, shown))
            samples = tuple(map(Sample, [each.text for each in shown], extra["before"], after))

        # 6. Tell the caller, checkpoint when one is due, stop if told to.
        due = number % config.checkpoint_every == 0 or number == total
        keep = partial(_saving, checkpoints, number, model, optimizer, extra)
        signal = tell(on_step, Step(number, total, metrics, samples), keep, due=due)
        if signal is Signal.STOP and number < total:
            return Outcome(finished=False, step=number, metrics=metrics)

    # 7. The policy's folder.
    if config.merge_lora:
        merge_lora(model)
    counts = _counts(elements)
    metrics = from_main(lambda: held_out(config, model, valid_set)) | counts
    save_policy(model, tokenizer, out, card=_card(config, base, counts, metrics))
    return Outcome(finished=True, step=total, metrics=metrics)


def with_reference(
    config: DpoConfig, model: PreTrainedModel, elements: Elements, file: Path, *, mark: str
) -> tuple[list[Known], list[Known]]:
    """The elements with the reference's log-probabilities: read from `file`, or taken now and written to it."""
    everything = [*elements.train, *elements.valid]
    found = from_main(lambda: _read_reference(file, mark=mark))
    is_new = found is None
    if found is None:
        found = reference_logprobs(config, model, everything)
    if is_new and is_main():
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        save_file({"logprobs": found}, partial, metadata={"belongs_to": mark})
        partial.replace(file)
    pieces = found.split([len(element.completions) for element in everything])
    known = [Known(element, piece) for element, piece in zip(everything, pieces, strict=True)]
    return known[: len(elements.train)], known[len(elements.train) :]


@torch.no_grad()
def reference_logprobs(config: DpoConfig, model: PreTrainedModel, elements: Sequence[Element]) -> Tensor:
    """log pi_ref of every completion of every element, one after the other: (N,) on the CPU."""
    found: list[Tensor] = [torch.empty(0)] * len(elements)
    by_length = sorted(range(len(elements)), key=lambda i: len(elements[i]))
    for piece in micro_batches(share(by_length), config.micro_batch_size):
        few = [elements[i] for i in piece]
        with autocast(config.precision), lora_off(model):
            sums = completion_logprobs(model, [e.prompt for e in few], [e.completions for e in few])
        for i, own in zip(piece, sums.cpu().split([len(e.completions) for e in few]), strict=True):
            found[i] = own
    shares = everyones({i: own for i, own in enumerate(found) if len(own)})
    return torch.cat([every for _, every in sorted((i, own) for each in shares for i, own in each.items())])


def _read_reference(file: Path, *, mark: str) -> Tensor | None:
    """What an earlier start of this run wrote; another run's, or a file that a crash left torn, is none."""
    try:
        with safe_open(file, framework="pt") as stored:
            return stored.get_tensor("logprobs") if (stored.metadata() or {}).get("belongs_to") == mark else None
    except (OSError, SafetensorError):
        return None


def accumulate(config: DpoConfig, model: PreTrainedModel, batch: Sequence[Known]) -> Tally:
    """Adds the gradient of the mean over prompts of the mean over their pairs, a micro-batch of prompts at a time."""
    tally, own = Tally(), share(batch)
    for piece in micro_batches(range(len(own)), config.micro_batch_size):
        loss = pair_loss(config, model, [own[i] for i in piece], tally) / len(batch)
        loss.backward()
        tally.loss += float(loss.detach())
    return in_all(everyones(tally))


def in_all(tallies: Sequence[Tally]) -> Tally:
    """What the processes' shares of one batch came to."""
    whole = Tally()
    for tally in tallies:
        whole.loss += tally.loss
        whole.margin += tally.margin
        whole.chosen += tally.chosen
        whole.rejected += tally.rejected
        whole.right += tally.right
        whole.pairs += tally.pairs
    return whole


def pair_loss(config: DpoConfig, model: PreTrainedModel, few: Sequence[Known], tally: Tally) -> Tensor:
    """Sum over prompts of the mean over their pairs; notes in `tally` what the pairs came to."""
    elements = [known.element for known in few]
    with autocast(config.precision):
        logprobs = completion_logprobs(model, [e.prompt for e in elements], [e.completions for e in elements])
    changes = logprobs - torch.cat([known.reference for known in few]).to(logprobs.device)  # (N,) log(pi / pi_ref)
    lengths = torch.tensor([float(len(c)) for e in elements for c in e.completions], device=changes.device)
    pairs = pairs_of(elements, changes.device)
    winners, losers, prompts = pairs.winners, pairs.losers, pairs.prompts
    weights = pair_weights(prompts, len(few))
    if config.loss == "ipo":
        ratios = changes / lengths
        loss = ipo_loss(ratios, winners, losers, weights, beta=config.beta)
    else:
        ratios = changes
        smoothing = config.label_smoothing
        loss = dpo_loss(ratios, winners, losers, weights, beta=config.beta, label_smoothing=smoothing)
    gaps = (ratios[winners] - ratios[losers]).detach()
    right = ((gaps > 0).double() + 0.5 * (gaps == 0).double()).cpu()
    tally.right += right.new_zeros(len(few)).index_add(0, prompts.cpu(), right).tolist()
    tally.pairs += [len(element.pairs) for element in elements]
    tally.margin += config.beta * float(gaps.sum())
    tally.chosen += float(changes[winners].detach().sum())
    tally.rejected += float(changes[losers].detach().sum())
    return loss


@torch.no_grad()
def _tally(config: DpoConfig, model: PreTrainedModel, rows: Sequence[Known]) -> Tally:
    by_length = sorted(rows, key=len)
    tally = Tally()
    for piece in micro_batches(range(len(by_length)), config.micro_batch_size):
        tally.loss += float(pair_loss(config, model, [by_length[i] for i in piece], tally)) / len(by_length)
    return tally


def held_out(config: DpoConfig, model: PreTrainedModel, rows: Sequence[Known]) -> dict[str, float]:
    """Loss, margin and accuracy on validation rankings, with its 95 % interval; nothing where there are none."""
    if not rows:
        return {}
    tally = _tally(config, model, rows)
    seen = clustered_accuracy(tally.right, tally.pairs)
    interval = {"valid_accuracy_low": seen.low, "valid_accuracy_high": seen.high}
    return {f"valid_{name}": value for name, value in tally.figures().items()} | interval


def prompts_to_show(
    config: DpoConfig, rankings: Sequence[Ranking], tokenizer: PreTrainedTokenizerBase
) -> list[LookedAt]:
    """A few validation prompts, or training ones where there are none."""
    by_prompt = {r.prompt_id: r for r in rankings if r.split == "train"}
    by_prompt = {r.prompt_id: r for r in rankings if r.split == "valid"} or by_prompt
    every = [LookedAt(r.messages[-1]["content"], encode_prompt(tokenizer, r.messages)) for r in by_prompt.values()]
    return [each for each in every if len(each.tokens) <= config.max_prompt_tokens][:SHOWN_SAMPLES]


def write(
    config: DpoConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, shown: Sequence[LookedAt]
) -> list[str]:
    """Greedy completions of the prompts."""
    if not shown:
        return []
    decoding = Decoding(max_new_tokens=config.max_completion_tokens, eos_ids=stop_ids(model, tokenizer), temperature=0)
    unused = torch.zeros(len(shown), 1, config.max_completion_tokens)  # greedy decoding draws no numbers
    drawn = draw_completions(model, [each.tokens for each in shown], unused, decoding=decoding)
    return [decode_completion(tokenizer, only.tokens) for (only,) in drawn]


def _saving(
    checkpoints: Path, step: int, model: PreTrainedModel, optimizer: torch.optim.Optimizer, extra: dict[str, Any]
) -> AbstractContextManager[None]:
    return saving_checkpoint(checkpoints, step, modules={"model": model}, optimizers={"adamw": optimizer}, extra=extra)


def _counts(elements: Elements) -> dict[str, float]:
    return elements.counts() | {"valid_rankings": float(sum(element.rankings for element in elements.valid))}


def _card(config: DpoConfig, base: Path, counts: dict[str, float], metrics: dict[str, float]) -> str:
    said = "Trained on rankings without a reward model, against the log-probabilities of the model it started from. "
    if config.loss == "ipo":
        said += "Log-ratios are means over a completion's tokens."
    else:
        said += f"Label smoothing {config.label_smoothing:g}." if config.label_smoothing else "Labels taken as certain."
    title = "IPO policy" if config.loss == "ipo" else "cDPO policy" if config.label_smoothing else "DPO policy"
    return model_card(title, said, base=base, config=config, data=counts, metrics=metrics)
