"""The reward model, trained on rankings (sections 3.5 and C.2).

One prompt with all its ranked completions is one element of the batch, and every untied pair of them counts, so that
each completion is encoded once. The prompt is encoded once too, its keys and values shared by its completions. One
epoch, cosine to 10 % of the peak, dropout off. Afterwards a bias sets the mean score of the demonstrations to 0.
Simplified: one process, one seed; the last step is kept, as the paper's single epoch leaves nothing to choose from.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from app.datasets.examples import Demonstration, Ranking
from app.runs.configs import RewardModelConfig
from workers.rlhf.losses import pair_weights, ranking_loss
from workers.training.accuracy import clustered_accuracy
from workers.training.adapters import add_lora, merge_lora
from workers.training.batching import bucketed_batches, encode_completion, encode_prompt, micro_batches
from workers.training.cards import model_card
from workers.training.checkpoints import fingerprint, load_newest, refuse_foreign, save_checkpoint
from workers.training.limits import fits
from workers.training.loop import OnStep, Outcome, Signal, Step, adamw, cosine, start, take_step
from workers.training.models import (
    RewardModel,
    autocast,
    context_of,
    load_tokenizer,
    new_reward_model,
    save_reward_model,
)
from workers.training.rankings import Element, Elements, prepare
from workers.training.recomputing import recomputing

EVALUATION_BATCH = 16


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
    """Trains a scalar head and the body of the policy in `base`, and writes them to `out`; resumes by itself."""
    # 1. What cannot work is said before anything is done. The head is drawn from the seed.
    start(config)
    tokenizer = load_tokenizer(base)
    model = new_reward_model(base, pad_token_id=tokenizer.pad_token_id)
    elements = prepare(config, rankings, tokenizer, context=context_of(model.body.config))

    # 2. What trains. The model stays in evaluation mode: dropout would score the same completion differently.
    if config.lora_rank:
        add_lora(model, config.lora_rank)
    optimizer = adamw(model.parameters(), config, learning_rate=config.learning_rate)
    steps_per_epoch = -(-len(elements.train) // config.batch_size)
    total = config.epochs * steps_per_epoch

    # 3. Where the run was, if it was on its way before.
    belongs_to = fingerprint(config, [*rankings, *demonstrations])
    checkpoint = load_newest(checkpoints, modules={"model": model}, optimizers={"adamw": optimizer})
    if checkpoint:
        refuse_foreign(checkpoint, belongs_to)
    extra = {"belongs_to": belongs_to}

    # 4. One optimizer step after the other.
    for number in range(checkpoint.step + 1 if checkpoint else 1, total + 1):
        began = time.perf_counter()
        epoch, place = divmod(number - 1, steps_per_epoch)
        lengths = [len(element) for element in elements.train]
        order = bucketed_batches(lengths, batch_size=config.batch_size, seed=config.seed * 1_000_003 + epoch)
        batch = [elements.train[i] for i in order[place]]
        with recomputing(model, wanted=config.activation_checkpointing):
            loss, right = accumulate(model, batch, config=config)
        learning_rate = config.learning_rate * cosine(number - 1, total, end=config.final_learning_rate)
        grad_norm = take_step(
            optimizer, learning_rate=learning_rate, max_grad_norm=config.max_grad_norm, loss=loss, step=number
        )
        pairs = sum(len(element.pairs) for element in batch)
        metrics = {"loss": loss, "accuracy": right / pairs, "pairs": float(pairs), "prompts": float(len(batch))}
        metrics |= {"learning_rate": learning_rate, "grad_norm": grad_norm, "epoch": number / steps_per_epoch}
        metrics["prompts_per_second"] = len(batch) / (time.perf_counter() - began)

        # 5. Checkpoint when one is due, tell the caller, stop if told to.
        due = number % config.checkpoint_every == 0 or number == total
        if due:
            _save(checkpoints, number, model, optimizer, extra)
        signal = on_step(Step(number, total, metrics, checkpointed=due))
        if signal is Signal.STOP and number < total:
            if not due:
                _save(checkpoints, number, model, optimizer, extra)
            return Outcome(finished=False, step=number, metrics=metrics)

    # 6. Bias, held-out accuracy, folder.
    if config.merge_lora:
        merge_lora(model)
    model.bias = bias_to_demonstrations(config, model, tokenizer, demonstrations, elements)
    metrics = held_out(model, elements) | _counts(elements) | {"bias": model.bias}
    card = model_card(
        "Reward model", _card_text(demonstrations), base=base, config=config, data=_counts(elements), metrics=metrics
    )
    save_reward_model(model, tokenizer, out, card=card)
    return Outcome(finished=True, step=total, metrics=metrics)


def accumulate(model: RewardModel, elements: Sequence[Element], *, config: RewardModelConfig) -> tuple[float, float]:
    """Adds the gradient of the mean over prompts of the mean over their pairs, a micro-batch of prompts at a time.

    Returns that loss, and how many pairs were scored in the labeler's order (equal scores count one half).
    """
    loss = right = 0.0
    for piece in micro_batches(range(len(elements)), config.micro_batch_size):
        few = [elements[i] for i in piece]
        with autocast(config.precision):
            scores, winners, losers, prompts = score(model, few)
        summed = ranking_loss(scores, winners, losers, pair_weights(prompts, len(few))) / len(elements)
        summed.backward()
        loss += float(summed.detach())
        right += float(_right(scores.detach(), winners, losers).sum())
    return loss, right


def score(model: RewardModel, elements: Sequence[Element]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scores (N,) of all completions; winner, loser and prompt (P,) of each pair, the first two indices into them."""
    scores = model.score_completions([e.prompt for e in elements], [e.completions for e in elements])
    winners, losers, prompts, first = [], [], [], 0
    for number, element in enumerate(elements):
        winners += [first + winner for winner, _ in element.pairs]
        losers += [first + loser for _, loser in element.pairs]
        prompts += [number] * len(element.pairs)
        first += len(element.completions)
    return scores, *(torch.tensor(column, device=scores.device) for column in (winners, losers, prompts))


def _right(scores: Tensor, winners: Tensor, losers: Tensor) -> Tensor:
    margins = scores[winners] - scores[losers]
    return (margins > 0).float() + 0.5 * (margins == 0).float()


@torch.no_grad()
def held_out(model: RewardModel, elements: Elements) -> dict[str, float]:
    """Accuracy on validation rankings with its 95 % interval, clustered by prompt; only counts where there are none."""
    by_length = sorted(elements.valid, key=len)
    counts = {"valid_rankings": float(sum(element.rankings for element in by_length))}
    correct: list[float] = []
    for piece in micro_batches(range(len(by_length)), EVALUATION_BATCH):
        few = [by_length[i] for i in piece]
        scores, winners, losers, prompts = score(model, few)
        right = _right(scores, winners, losers).double()
        correct += right.new_zeros(len(few)).index_add(0, prompts, right).tolist()
    if not correct:
        return counts
    seen = clustered_accuracy(correct, [len(element.pairs) for element in by_length])
    interval = {"valid_accuracy_low": seen.low, "valid_accuracy_high": seen.high}
    return {"valid_accuracy": seen.value, **interval, "valid_pairs": float(seen.pairs), **counts}


@torch.no_grad()
def bias_to_demonstrations(
    config: RewardModelConfig,
    model: RewardModel,
    tokenizer: PreTrainedTokenizerBase,
    demonstrations: Sequence[Demonstration],
    elements: Elements,
) -> float:
    """The bias that makes the demonstrations' mean score 0 (C.2); without any, that of the ranked completions."""
    encoded = [
        (encode_prompt(tokenizer, d.messages), encode_completion(tokenizer, d.completion)) for d in demonstrations
    ]
    scored = [(prompt, [completion]) for prompt, completion in encoded if fits(config, prompt, completion)]
    scored = scored or [(element.prompt, element.completions) for element in elements.train]
    scored.sort(key=lambda pair: len(pair[0]) + len(pair[1][0]))
    scores: list[float] = []
    for piece in micro_batches(range(len(scored)), EVALUATION_BATCH):
        prompts, completions = zip(*(scored[i] for i in piece), strict=True)
        scores += model.score_completions(prompts, completions).tolist()
    return model.bias - sum(scores) / len(scores)


def _save(
    checkpoints: Path, step: int, model: RewardModel, optimizer: torch.optim.Optimizer, extra: dict[str, str]
) -> None:
    save_checkpoint(checkpoints, step, modules={"model": model}, optimizers={"adamw": optimizer}, extra=extra)


def _counts(elements: Elements) -> dict[str, float]:
    return {
        "prompts": float(len(elements.train)),
        "rankings": float(sum(element.rankings for element in elements.train)),
        "pairs": float(sum(len(element.pairs) for element in elements.train)),
        "rankings_all_tied": float(elements.all_tied),
        "completions_left_out": float(elements.completions_left_out),
    }


def _card_text(demonstrations: Sequence[Demonstration]) -> str:
    zero = "the demonstrations'" if demonstrations else "the ranked completions' (there were no demonstrations)"
    return (
        f"Scores a completion at its last token. Touchstone adds `reward_bias` from config.json, with which {zero} "
        "mean score is 0. Loads with `AutoModelForSequenceClassification(num_labels=1)`, which leaves the bias out."
    )
