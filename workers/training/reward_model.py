"""The reward model, trained on rankings (sections 3.5 and C.2).

One prompt with all its ranked completions is one element of the batch, and every pair of them that counts is in its
loss, so that each completion is encoded once. The prompt is encoded once too, its keys and values shared by its
completions. One epoch, cosine to 10 % of the peak, dropout off. Ties are dropped or (soft) pull two scores together.
Afterwards a bias sets the mean score of the training split's demonstrations to 0.
Simplified: the last step is kept, as the paper's single epoch leaves nothing to choose from.
"""

import statistics
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from app.datasets.examples import Demonstration, Ranking
from app.runs.configs import RankingsConfig, RewardModelConfig
from workers.rlhf.losses import TIE, pair_weights, ranking_loss
from workers.training.adapters import add_lora, merge_lora
from workers.training.batching import encode_completion, encode_prompt, micro_batches
from workers.training.cards import model_card
from workers.training.checkpoints import fingerprint, load_newest, refuse_foreign, saving_checkpoint, tell
from workers.training.limits import fits
from workers.training.loop import OnStep, Outcome, Signal, Step, adamw, cosine, start, take_step
from workers.training.models import (
    RewardModel,
    autocast,
    load_tokenizer,
    new_reward_model,
    read_context,
    save_reward_model,
)
from workers.training.preferences import EVALUATION_BATCH, figures, judge, report
from workers.training.processes import count, from_main, summed
from workers.training.rankings import Element, Elements, Pairs, batches, pairs_of, prepare
from workers.training.recomputing import recomputing
from workers.training.series import Part, train_in_turn
from workers.training.sharding import gather, passes, shard, through


@dataclass(frozen=True, slots=True)
class Material:
    """What a run learns from, its members alike."""

    base: Path
    tokenizer: PreTrainedTokenizerBase
    elements: Elements
    demonstrations: Sequence[Demonstration]  # of the training split
    belongs_to: str


def train(
    config: RewardModelConfig,
    rankings: Sequence[Ranking],
    on_step: OnStep,
    *,
    base: Path,
    out: Path,
    checkpoints: Path,
    demonstrations: Sequence[Demonstration] = (),
) -> Outcome:
    """Trains a scalar head and the body of the policy in `base`, and writes them to `out`; resumes by itself.

    Several members are trained in turn from seeds that follow each other, each into a folder of its own in `out`.
    """
    # What cannot work is said before anything is done.
    tokenizer = load_tokenizer(base)
    elements = prepare(config, rankings, tokenizer, context=read_context(base), with_ties=config.ties == "soft")
    belongs_to = fingerprint(config, [*rankings, *demonstrations])
    written = [demonstration for demonstration in demonstrations if demonstration.split == "train"]
    material = Material(base, tokenizer, elements, written, belongs_to)
    if config.members == 1:
        return train_member(on_step, checkpoints, config=config, material=material, out=out)
    parts = [
        Part(name, steps_of(config, elements.train), partial(train_member, config=own, material=material, out=folder))
        for name, own, folder in zip(member_names(config), _member_configs(config), member_folders(config, out),
                                     strict=True)
    ]  # fmt: skip
    return _together(train_in_turn(parts, on_step, folder=checkpoints, belongs_to=belongs_to))


def member_names(config: RewardModelConfig) -> list[str]:
    return [f"member-{number}" for number in range(1, config.members + 1)]


def member_folders(config: RewardModelConfig, out: Path) -> list[Path]:
    """Where a run's members are written, each an ordinary model folder."""
    return [out] if config.members == 1 else [out / name for name in member_names(config)]


def _member_configs(config: RewardModelConfig) -> list[RewardModelConfig]:
    return [config.model_copy(update={"seed": config.seed + number}) for number in range(config.members)]


def _together(outcomes: Sequence[Outcome]) -> Outcome:
    """The run's outcome: the members' mean figures, and all that is said of each."""
    last = outcomes[-1]
    if not last.finished:
        return last
    metrics = {key: statistics.fmean(outcome.metrics[key] for outcome in outcomes) for key in last.metrics}
    members = [outcome.metrics | outcome.report for outcome in outcomes]
    step = sum(outcome.step for outcome in outcomes)
    return Outcome(True, step, metrics | {"members": float(len(members))}, {"members": members})


def train_member(
    on_step: OnStep, checkpoints: Path, *, config: RewardModelConfig, material: Material, out: Path
) -> Outcome:
    """One reward model from its seed, which draws the head and the order of the prompts, to its folder."""
    # 1. The model, in evaluation mode throughout: dropout would score the same completion differently.
    start(config)
    model = new_reward_model(material.base, pad_token_id=material.tokenizer.pad_token_id)
    if config.lora_rank:
        add_lora(model, config.lora_rank)

    shown = shard(model) if config.sharded and count() > 1 else model  # what is judged and saved

    # 2. Its training, from where the run was if it was on its way before.
    elements = material.elements
    outcome = fit(config, model, elements.train, on_step, checkpoints=checkpoints, belongs_to=material.belongs_to)
    if not outcome.finished:
        return outcome

    # 3. Bias, held-out rankings, folder: of several processes the first one's work.
    gather(model, shown)
    metrics, said = from_main(partial(finish, config, shown, material, out))
    return Outcome(finished=True, step=outcome.step, metrics=metrics, report=said)


def finish(
    config: RewardModelConfig, model: RewardModel, material: Material, out: Path
) -> tuple[dict[str, float], dict[str, Any]]:
    """Sets the bias, judges the model on held-out rankings and writes it; its figures, and what is no single figure."""
    if config.merge_lora:
        merge_lora(model)
    model.bias = bias_to_demonstrations(config, model, material)
    judged = judge(model, material.elements.valid)
    counts = _counts(material.elements)
    metrics = figures(judged) | counts | {"bias": model.bias}
    said = _card_text(material.demonstrations)
    card = model_card("Reward model", said, base=material.base, config=config, data=counts, metrics=metrics)
    save_reward_model(model, material.tokenizer, out, card=card)
    return metrics, report(judged)


def steps_of(config: RankingsConfig, elements: Sequence[Element]) -> int:
    return config.epochs * -(-len(elements) // config.batch_size)


def fit(
    config: RankingsConfig, model: RewardModel, elements: Sequence[Element], on_step: OnStep, *, checkpoints: Path,
    belongs_to: str,
) -> Outcome:  # fmt: skip
    """Every optimizer step over the elements, from the newest checkpoint if there is one."""
    optimizer = adamw(model.parameters(), config, learning_rate=config.learning_rate)
    checkpoint = load_newest(checkpoints, modules={"model": model}, optimizers={"adamw": optimizer})
    if checkpoint:
        refuse_foreign(checkpoint, belongs_to)
    total = steps_of(config, elements)
    for number, batch in batches(config, elements, epochs=config.epochs, after=checkpoint.step if checkpoint else 0):
        metrics = _take_one(config, model, optimizer, batch, number=number, total=total)
        due = number % config.checkpoint_every == 0 or number == total
        keep = partial(_saving, checkpoints, number, model, optimizer, belongs_to)
        signal = tell(on_step, Step(number, total, metrics), keep, due=due)
        if signal is Signal.STOP and number < total:
            return Outcome(finished=False, step=number, metrics=metrics)
    return Outcome(finished=True, step=total, metrics={})


def _take_one(
    config: RankingsConfig, model: RewardModel, optimizer: torch.optim.Optimizer, batch: Sequence[Element], *,
    number: int, total: int,
) -> dict[str, float]:  # fmt: skip
    """One optimizer step, and what is reported of it."""
    began = time.perf_counter()
    with recomputing(model, wanted=config.activation_checkpointing):
        loss, right = accumulate(model, batch, config=config)
    learning_rate = config.learning_rate * cosine(number - 1, total, end=config.final_learning_rate)
    grad_norm = take_step(
        optimizer, learning_rate=learning_rate, max_grad_norm=config.max_grad_norm, loss=loss, step=number
    )
    untied, tied = (sum(map(len, kind)) for kind in ([e.pairs for e in batch], [e.ties for e in batch]))
    metrics = {"loss": loss, "pairs": float(untied), "prompts": float(len(batch)), "learning_rate": learning_rate}
    metrics |= {"grad_norm": grad_norm, "epoch": number * config.epochs / total}
    metrics |= {"accuracy": right / untied} if untied else {}
    metrics |= {"ties": float(tied)} if tied else {}
    return metrics | {"prompts_per_second": len(batch) / (time.perf_counter() - began)}


def accumulate(model: RewardModel, elements: Sequence[Element], *, config: RankingsConfig) -> tuple[float, float]:
    """Adds the gradient of the mean over prompts of the mean over their pairs, a micro-batch of prompts at a time.

    Returns that loss, and how many untied pairs were scored in the labeler's order (equal scores count one half).
    """
    loss = right = 0.0
    for few, counts in passes(model, elements, config.micro_batch_size):
        with autocast(config.precision):
            scores, pairs = through(model, score, few)
        weights = pair_weights(pairs.prompts, len(few))
        part = ranking_loss(scores, pairs.winners, pairs.losers, weights, pairs.targets) / len(elements)
        (counts * part).backward()
        loss += counts * float(part.detach())
        right += counts * float(_right(scores.detach(), pairs))
    totals = summed({"loss": loss, "right": right})
    return totals["loss"], totals["right"]


def score(model: RewardModel, elements: Sequence[Element]) -> tuple[Tensor, Pairs]:
    """Scores (N,) of all completions, and the pairs of them that count."""
    scores = model.score_completions([e.prompt for e in elements], [e.completions for e in elements])
    return scores, pairs_of(elements, scores.device)


def _right(scores: Tensor, pairs: Pairs) -> Tensor:
    """How many untied pairs are scored in the labeler's order; equal scores count one half."""
    margins = (scores[pairs.winners] - scores[pairs.losers])[pairs.targets > TIE]
    return (margins > 0).sum() + 0.5 * (margins == 0).sum()


@torch.no_grad()
def bias_to_demonstrations(config: RankingsConfig, model: RewardModel, material: Material) -> float:
    """The bias that makes the demonstrations' mean score 0 (C.2); without any, that of the ranked completions."""
    tokenizer = material.tokenizer
    encoded = [
        (encode_prompt(tokenizer, d.messages), encode_completion(tokenizer, d.completion))
        for d in material.demonstrations
    ]
    scored = [(prompt, [completion]) for prompt, completion in encoded if fits(config, prompt, completion)]
    scored = scored or [(element.prompt, element.completions) for element in material.elements.train]
    scored.sort(key=lambda pair: len(pair[0]) + len(pair[1][0]))
    scores: list[float] = []
    for piece in micro_batches(range(len(scored)), EVALUATION_BATCH):
        prompts, completions = zip(*(scored[i] for i in piece), strict=True)
        scores += model.score_completions(prompts, completions).tolist()
    return model.bias - sum(scores) / len(scores)


def _saving(
    checkpoints: Path, step: int, model: RewardModel, optimizer: torch.optim.Optimizer, belongs_to: str
) -> AbstractContextManager[None]:
    extra = {"belongs_to": belongs_to}
    return saving_checkpoint(checkpoints, step, modules={"model": model}, optimizers={"adamw": optimizer}, extra=extra)


def _counts(elements: Elements) -> dict[str, float]:
    ties = sum(len(element.ties) for element in elements.train)
    return elements.counts() | ({"ties": float(ties)} if ties else {})


def _card_text(demonstrations: Sequence[Demonstration]) -> str:
    zero = "the demonstrations'" if demonstrations else "the ranked completions' (there were no demonstrations)"
    return (
        f"Scores a completion at its last token. Touchstone adds `reward_bias` from config.json, with which {zero} "
        "mean score is 0. Loads with `AutoModelForSequenceClassification(num_labels=1)`, which leaves the bias out."
    )
