"""How well reward models predict labelers they never learned from (appendix E.2).

Labelers are split into 5 groups of about equal data; each group is held out in turn, with 3 seeds. Every training is
judged on prompts that it never saw: rankings of the held-out labelers, and validation rankings of the labelers it
learned from. The paper: 69.6 +- 0.9 % and 72.4 +- 0.4 %; it does not say of what its +- is, here it is the standard
error over the trainings. No model is kept.
"""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import sqrt
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from app.datasets.examples import Ranking
from app.runs.configs import CrossValidationConfig
from workers.rlhf.losses import untied_pairs
from workers.training.adapters import add_lora
from workers.training.checkpoints import fingerprint
from workers.training.loop import CannotTrain, OnStep, Outcome, Signal, Step, start
from workers.training.models import RewardModel, load_tokenizer, new_reward_model, read_context
from workers.training.preferences import accuracy, judge
from workers.training.processes import from_main
from workers.training.rankings import Element, encode, prepare
from workers.training.reward_model import fit, steps_of
from workers.training.series import Part, train_in_turn

JUDGED = ("held_out_labelers_accuracy", "training_labelers_accuracy")


@dataclass(frozen=True, slots=True)
class Fold:
    """One group of labelers held out."""

    number: int
    labelers: list[str]
    train: list[Element]
    held_out_labelers: list[Element]  # their rankings of prompts that are not trained on
    training_labelers: list[Element]  # the others' rankings of validation prompts


def cross_validate(
    config: CrossValidationConfig, rankings: Sequence[Ranking], on_step: OnStep, *, base: Path, checkpoints: Path
) -> Outcome:
    """Trains and judges one reward model for every group and seed; resumes by itself."""
    tokenizer = load_tokenizer(base)
    folds = make_folds(config, rankings, tokenizer, context=read_context(base))
    belongs_to = fingerprint(config, rankings)
    trainings = [(fold, config.seed + number) for number in range(config.seeds) for fold in folds]
    parts = [
        Part(f"fold-{fold.number}-seed-{seed}", steps_of(config, fold.train),
             partial(_train_one, config=config.model_copy(update={"seed": seed}), fold=fold, base=base,
                     pad_token_id=tokenizer.pad_token_id, belongs_to=belongs_to))
        for fold, seed in trainings
    ]  # fmt: skip
    outcomes = train_in_turn(parts, on_step, folder=checkpoints, belongs_to=belongs_to)
    if not outcomes[-1].finished:
        return outcomes[-1]
    step = sum(part.steps for part in parts)
    rows = [{"fold": fold.number, "seed": seed, **outcome.metrics}
            for (fold, seed), outcome in zip(trainings, outcomes, strict=True)]  # fmt: skip
    groups = [{"fold": fold.number, "labelers": len(fold.labelers)} for fold in folds]
    return Outcome(True, step, summed_up(rows), {"trainings_table": rows, "groups": groups})


def make_folds(
    config: CrossValidationConfig, rankings: Sequence[Ranking], tokenizer: PreTrainedTokenizerBase, *, context: int
) -> list[Fold]:
    """Every group's fold, encoded; refuses rankings that leave a fold nothing to learn from or nothing to tell."""
    used = [r for r in rankings if r.split in ("train", "valid") and untied_pairs(r.ranks)]
    groups = labeler_groups(used, config.folds)
    if len(groups) < 2:
        raise CannotTrain(
            f"Cross-validation over labelers needs rankings by at least 2 labelers; there {_are(len(groups))}. "
            "The paper had 5 groups of several labelers each."
        )
    known: dict[str, list[int]] = {}
    folds = []
    for number, group in enumerate(groups, 1):
        others = [r for r in used if r.labeler not in group]
        _refuse_little(others, number, group)
        elements = prepare(config, others, tokenizer, context=context, with_ties=config.ties == "soft", known=known)
        trained_on = {r.prompt_id for r in others if r.split == "train"}
        unseen = [r for r in used if r.labeler in group and r.prompt_id not in trained_on]
        held_out = encode(config, unseen, tokenizer, known=known).elements
        folds.append(Fold(number, group, elements.train, held_out, elements.valid))
    for kind, lacking in (("held_out_labelers", _NONE_UNSEEN), ("training_labelers", _NONE_VALID)):
        if not any(getattr(fold, kind) for fold in folds):
            raise CannotTrain(lacking)
    return folds


_NONE_UNSEEN = (
    "Every prompt that a labeler ranked was ranked by others too, so no prompt is left on which a held-out labeler "
    "could be predicted. Have some prompts ranked by one labeler only (overlap 1)."
)
_NONE_VALID = (
    "There are no rankings of validation prompts, so nothing tells how well the training labelers are predicted. "
    "Rank completions of validation prompts first."
)


def labeler_groups(rankings: Sequence[Ranking], groups: int) -> list[list[str]]:
    """Labelers in `groups` groups of about equal numbers of rankings; with fewer labelers, each is a group."""
    counts = Counter(ranking.labeler for ranking in rankings)
    found: list[list[str]] = [[] for _ in range(min(groups, len(counts)))]
    for labeler in sorted(counts, key=lambda each: (-counts[each], each)):  # the largest first, to the smallest group
        min(found, key=lambda group: sum(counts[each] for each in group)).append(labeler)
    return found


def _refuse_little(others: Sequence[Ranking], number: int, group: Sequence[str]) -> None:
    found = sum(ranking.split == "train" for ranking in others)
    if found < 2:
        raise CannotTrain(
            f"With group {number} ({len(group)} labelers) held out, {found} training rankings by the others are left; "
            "each training needs 2 at least, and hundreds to tell anything. Have more labelers rank."
        )


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count or 'none'}"


def _train_one(
    on_step: OnStep, checkpoints: Path, *, config: CrossValidationConfig, fold: Fold, base: Path, pad_token_id: int,
    belongs_to: str,
) -> Outcome:  # fmt: skip
    """One training, judged when its last step is done, so that the run's curves show it."""
    start(config)
    model = new_reward_model(base, pad_token_id=pad_token_id)
    if config.lora_rank:
        add_lora(model, config.lora_rank)
    judged: dict[str, float] = {}

    def judge_the_last(step: Step) -> Signal:
        if step.number == step.total:
            judged.update(from_main(lambda: _judge(model, fold)))
        return on_step(replace(step, metrics=step.metrics | judged))

    outcome = fit(config, model, fold.train, judge_the_last, checkpoints=checkpoints, belongs_to=belongs_to)
    if not outcome.finished:
        return outcome
    return replace(
        outcome, metrics=judged or from_main(lambda: _judge(model, fold))
    )  # killed before its figures were kept


def _judge(model: RewardModel, fold: Fold) -> dict[str, float]:
    found = {}
    for kind, elements in zip(JUDGED, (fold.held_out_labelers, fold.training_labelers), strict=True):
        seen = accuracy(judge(model, elements))
        if seen is not None:
            found |= {kind: seen.value, kind.replace("accuracy", "pairs"): float(seen.pairs)}
    return found


def summed_up(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean accuracy and its standard error over the trainings, for both kinds of labelers."""
    found = {"trainings": float(len(rows))}
    for kind in JUDGED:
        seen = [row[kind] for row in rows if kind in row]
        found[kind] = statistics.fmean(seen)
        if len(seen) > 1:
            found[kind.replace("accuracy", "error")] = statistics.stdev(seen) / sqrt(len(seen))
    return found
