"""Our reward model and TRL's on what real people preferred: the same base, head, pairs and budget, one scorer.

Runs where `../shared` beside the checkout has the data and a small base. Prompts lie in five folds by their group (a
first question, a conversation); three are held out in turn, each with a seed of its own, so that every pair that is
judged is of a group which neither side saw. Intervals resample groups.

Equal on both sides: the weights and the head at the start, the tokens, the pairs, the passes over them (one), peak and
cosine of the learning rate, AdamW, clipping, fp32, threads. Not equal: TRL knows pairs and no prompts. Ours takes 8
prompts a step and weighs every prompt the same; TRL takes as many pairs a step as make the same number of steps, drawn
from all prompts, and weighs every pair the same. For K = 2 that is one and the same; the order of the pairs and the
lengths that meet in a batch are each side's own.
"""

import gzip
import hashlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Self

import pytest

from app.datasets.examples import Ranking
from app.evals.spread import Estimate
from app.runs.configs import RewardModelConfig, RunKind
from app.runs.presets import defaults_for
from benchmarks.reward_model import TRL, run_side
from benchmarks.trl_environment import python_with_trl
from tests.prove.estimates import clustered_mean
from workers.training.batching import encode_prompt
from workers.training.loop import Signal, Step, start
from workers.training.models import (
    load_reward_model,
    load_tokenizer,
    new_reward_model,
    read_context,
    save_reward_model,
)
from workers.training.preferences import judge
from workers.training.rankings import Element, Elements, prepare
from workers.training.reward_model import steps_of, train

SHARED = Path(__file__).parents[3] / "shared"
BASE = SHARED / "models" / "ownbase-5m"
PARAMETERS = 4_676_352
FOLDS, HELD_OUT = 5, (1, 2, 3)
PAIRS_AT_ONCE = 12  # of TRL's, in memory

pytestmark = pytest.mark.skipif(
    not ((SHARED / "data" / "preferences").is_dir() and BASE.is_dir()),
    reason="no ../shared/data/preferences and ../shared/models/ownbase-5m beside the checkout",
)


@dataclass(frozen=True, slots=True)
class Source:
    """A file of preferences, and the lengths that fit the base's context of 512 tokens and leave out the least."""

    file: str
    max_prompt_tokens: int
    max_completion_tokens: int


SOURCES = {
    "hh_harmless": Source("hh_harmless_pairs", 200, 170),
    "qa_feedback": Source("qa_feedback_k4", 60, 400),
    "oasst": Source("oasst_en100_rankings", 250, 261),
}


@dataclass(frozen=True, slots=True)
class Side:
    """What one side did, and how long it took from reading the base to the written folder."""

    folder: Path
    pairs: int
    steps: int
    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Judged:
    """A held-out pair: what it belongs to, and whether each side's scores order it as the labeler did."""

    group: str
    ours: float
    trl: float


def read_rankings(source: Source, *, held_out: int) -> list[Ranking]:
    with gzip.open(SHARED / "data" / "preferences" / f"{source.file}.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [
        Ranking(
            id=row["id"],
            prompt_id=row["id"],
            messages=[{"role": role, "content": text} for role, text in row["prompt"]],
            completions=[response["text"] for response in row["responses"]],
            ranks=ranking["ranks"],
            split="valid" if fold_of(row["group"]) == held_out else "train",
            labeler=ranking["labeler"],
            group=row["group"],
        )
        for row in rows
        for ranking in row["rankings"]
        if ranking.get("consistent", True)  # some of qa_feedback's six judgments a prompt are no order
    ]


def fold_of(group: str) -> int:
    return int(hashlib.sha256(f"fold:{group}".encode()).hexdigest(), 16) % FOLDS


def train_ours(config: RewardModelConfig, rankings: list[Ranking], place: Path) -> Side:
    pairs: list[int] = []

    def on_step(step: Step) -> Signal:
        pairs.append(int(step.metrics["pairs"]))
        return Signal.CONTINUE

    began, worked = time.perf_counter(), time.process_time()
    train(config, rankings, on_step, base=BASE, out=place / "ours", checkpoints=place / "checkpoints")
    took = time.perf_counter() - began, time.process_time() - worked
    return Side(place / "ours", sum(pairs), len(pairs), *took)


def train_trl(config: RewardModelConfig, elements: list[Element], place: Path) -> Side:
    write_start(config, place / "start")
    pairs = [
        {"chosen_ids": each.prompt + each.completions[winner], "rejected_ids": each.prompt + each.completions[loser]}
        for each in elements
        for winner, loser in each.pairs
    ]
    a_step = len(pairs) * config.epochs / steps_of(config, elements)
    times = math.ceil(a_step / PAIRS_AT_ONCE)
    shared = ("epochs", "seed", "threads", "learning_rate", "final_learning_rate", "adam_beta2", "max_grad_norm")
    task: dict[str, Any] = {name: getattr(config, name) for name in shared}
    task |= {"pairs": pairs, "pairs_at_once": round(a_step / times), "times": times}
    task |= {"start": str(place / "start"), "out": str(place / "trl")}
    (place / "task.json").write_text(json.dumps(task))
    found = run_side(python_with_trl(TRL), "benchmarks.real_preferences_trl", place / "task.json")
    return Side(place / "trl", found["pairs"], found["steps"], found["wall"], found["cpu"])


def write_start(config: RewardModelConfig, folder: Path) -> None:
    """The base with the very head that our trainer draws from this seed."""
    start(config)
    tokenizer = load_tokenizer(BASE)
    model = new_reward_model(BASE, pad_token_id=tokenizer.pad_token_id)
    save_reward_model(model, tokenizer, folder, card="")


def judge_both(elements: list[Element], groups: dict[tuple[int, ...], str], ours: Side, trl: Side) -> list[Judged]:
    in_order = sorted((element for element in elements if element.pairs), key=len)  # as `judge` goes through them
    sides = [judge(load_reward_model(side.folder), in_order) for side in (ours, trl)]
    found: list[Judged] = []
    for element, mine, theirs in zip(in_order, *sides, strict=True):
        assert mine.pairs is element.pairs
        assert theirs.pairs is element.pairs
        found += [
            Judged(groups[tuple(element.prompt)], *(win(each.scores[w] - each.scores[l]) for each in (mine, theirs)))
            for w, l in element.pairs  # noqa: E741
        ]
    return found


def win(margin: float) -> float:
    return float(margin > 0) + 0.5 * (margin == 0)


def words(estimate: Estimate, *, sign: str = "") -> str:
    mean, low, high = (f"{100 * value:{sign}.1f}" for value in (estimate.mean, estimate.low, estimate.high))
    return f"{mean} ({low} to {high})"


@dataclass(frozen=True, slots=True)
class Fold:
    """One fold held out: what both sides were trained on, what it took, and how each held-out pair came out."""

    trained_on: list[Element]
    ours: Side
    trl: Side
    judged: list[Judged]

    @property
    def pairs(self) -> int:
        return sum(len(element.pairs) for element in self.trained_on)

    def __str__(self) -> str:
        right = [sum(each.ours for each in self.judged), sum(each.trl for each in self.judged)]
        return (
            f"{len(self.trained_on)} prompts and {self.pairs} pairs in {self.ours.steps} and {self.trl.steps} steps, "
            f"{self.ours.cpu:.0f} and {self.trl.cpu:.0f} s of CPU; "
            f"{right[0]:g} and {right[1]:g} of {len(self.judged)} held-out pairs right"
        )


@dataclass(frozen=True, slots=True)
class Split:
    """A source with one fold held out, as both sides get it."""

    config: RewardModelConfig
    rankings: list[Ranking]
    elements: Elements
    groups: dict[tuple[int, ...], str]  # by the prompt's tokens


def split(source: Source, fold: int) -> Split:
    suited = defaults_for(RunKind.reward_model, PARAMETERS).model_dump()
    lengths = {name: getattr(source, name) for name in ("max_prompt_tokens", "max_completion_tokens")}
    config = RewardModelConfig(**suited | lengths | {"seed": fold, "threads": 1, "checkpoint_every": 1_000_000})
    rankings, tokenizer = read_rankings(source, held_out=fold), load_tokenizer(BASE)
    elements = prepare(config, rankings, tokenizer, context=read_context(BASE))
    groups = {tuple(encode_prompt(tokenizer, ranking.messages)): ranking.group for ranking in rankings}
    return Split(config, rankings, elements, groups)


def run_fold(source: Source, fold: int, place: Path) -> Fold:
    place.mkdir()
    data = split(source, fold)
    ours = train_ours(data.config, data.rankings, place)
    trl = train_trl(data.config, data.elements.train, place)
    return Fold(data.elements.train, ours, trl, judge_both(data.elements.valid, data.groups, ours, trl))


COLUMNS = (
    "preferences", "K", "trained on, each fold: prompts, pairs", "judged: groups, pairs", "ours, % right",
    "TRL, % right", "ours − TRL", "CPU s: ours, TRL", "wall s: ours, TRL",
)  # fmt: skip


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    rows = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    yield rows
    print("\n" + "\n".join(rows))


@pytest.mark.parametrize("name", SOURCES)
def test_rewards_unseen_preferences_no_worse_than_trl(name: str, table: list[str], tmp_path: Path) -> None:
    folds: list[Fold] = []
    for number in HELD_OUT:
        folds.append(run_fold(SOURCES[name], number, tmp_path / str(number)))
        print(f"{name}, fold {number}: {folds[-1]}", flush=True)
        assert folds[-1].ours.pairs == folds[-1].trl.pairs == folds[-1].pairs, "both sides read every pair once"
    compared = Compared.over(folds)
    table.append(compared.row(name, folds))
    for side in (compared.ours, compared.trl):
        assert 0 <= side.low <= side.mean <= side.high <= 1
    assert compared.apart.high >= 0, "ours is significantly below TRL's"


@dataclass(frozen=True, slots=True)
class Compared:
    """Shares of held-out pairs that are right, and our share less TRL's, pair by pair."""

    ours: Estimate
    trl: Estimate
    apart: Estimate

    @classmethod
    def over(cls, folds: list[Fold]) -> Self:
        judged = [each for fold in folds for each in fold.judged]
        return cls(
            clustered_mean((each.group, each.ours) for each in judged),
            clustered_mean((each.group, each.trl) for each in judged),
            clustered_mean((each.group, each.ours - each.trl) for each in judged),
        )

    def row(self, name: str, folds: list[Fold]) -> str:
        accuracies = [f"{self.ours.prompts}, {self.ours.n}", words(self.ours), words(self.trl)]
        return f"| {' | '.join([name, *sizes(folds), *accuracies, words(self.apart, sign='+'), *times(folds)])} |"


def sizes(folds: list[Fold]) -> list[str]:
    """K, and the mean number of prompts and pairs that a fold's models were trained on."""
    counts = sorted({len(element.completions) for fold in folds for element in fold.trained_on})
    prompts, pairs = fmean(len(fold.trained_on) for fold in folds), fmean(fold.pairs for fold in folds)
    return [" to ".join(map(str, sorted({counts[0], counts[-1]}))), f"{prompts:.0f}, {pairs:.0f}"]


def times(folds: list[Fold]) -> list[str]:
    """Seconds of CPU and on the wall for all folds, ours and TRL's."""
    return [
        f"{sum(getattr(fold.ours, what) for fold in folds):.0f}, {sum(getattr(fold.trl, what) for fold in folds):.0f}"
        for what in ("cpu", "wall")
    ]
