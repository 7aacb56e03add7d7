"""Rankings as the reward model and DPO read them: a prompt is one element, with its completions and its pairs."""

from collections import defaultdict
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from app.datasets.examples import Ranking
from app.runs.configs import TrainingConfig
from workers.rlhf.losses import TIE, tied_pairs, untied_pairs
from workers.training.batching import bucketed_batches, encode_completion, encode_prompt
from workers.training.limits import fits, refuse_if_most_left_out, require_room
from workers.training.loop import CannotTrain

Measured = TypeVar("Measured", bound=Sized)  # what has a length in tokens


@dataclass(slots=True)
class Element:
    """A prompt, the distinct completions that were ranked for it, and pairs of indices into them.

    Several labelers may have ranked the same prompt: their pairs stand together here, so that they are never in two
    batches, and a completion that two of them ranked is encoded once.
    """

    prompt: list[int]
    completions: list[list[int]] = field(default_factory=list)
    pairs: list[tuple[int, int]] = field(default_factory=list)  # (winner, loser)
    ties: list[tuple[int, int]] = field(default_factory=list)  # only where ties count
    rankings: int = 0

    def __len__(self) -> int:
        """Tokens that are encoded for it."""
        return len(self.prompt) + sum(len(completion) for completion in self.completions)

    @property
    def counted(self) -> int:
        """Pairs in its loss."""
        return len(self.pairs) + len(self.ties)

    def add(self, completions: Sequence[list[int]], ranks: Sequence[int], *, with_ties: bool = False) -> bool:
        """Takes in one ranking; whether it has a pair that counts."""
        for completion in completions:
            if completion not in self.completions:
                self.completions.append(completion)
        places = [self.completions.index(completion) for completion in completions]
        before = self.counted
        self.pairs += [(places[i], places[j]) for i, j in untied_pairs(list(ranks)) if places[i] != places[j]]
        if with_ties:
            self.ties += [(places[i], places[j]) for i, j in tied_pairs(list(ranks)) if places[i] != places[j]]
        self.rankings += self.counted > before
        return self.counted > before


@dataclass(frozen=True, slots=True)
class Elements:
    """What trains and what is held out, and what was left aside and why."""

    train: list[Element]
    valid: list[Element]
    all_tied: int
    completions_left_out: int

    def counts(self) -> dict[str, float]:
        """What trains and what was left aside, in numbers."""
        return {
            "prompts": float(len(self.train)),
            "rankings": float(sum(element.rankings for element in self.train)),
            "pairs": float(sum(len(element.pairs) for element in self.train)),
            "rankings_all_tied": float(self.all_tied),
            "completions_left_out": float(self.completions_left_out),
        }


@dataclass(frozen=True, slots=True)
class Pairs:
    """Every pair that counts: two places among all completions, the odds of the first, and whose prompt's it is."""

    winners: Tensor  # (P,)
    losers: Tensor  # (P,)
    targets: Tensor  # (P,) 1, or 1/2 for a tie
    prompts: Tensor  # (P,)


def pairs_of(elements: Sequence[Element], device: torch.device) -> Pairs:
    """The pairs of elements whose completions stand one after the other."""
    rows: list[tuple[int, int, float, int]] = []
    first = 0
    for number, element in enumerate(elements):
        rows += [(first + winner, first + loser, 1.0, number) for winner, loser in element.pairs]
        rows += [(first + one, first + other, TIE, number) for one, other in element.ties]
        first += len(element.completions)
    return Pairs(*(torch.tensor(column, device=device) for column in zip(*rows, strict=True)))


def batches(
    config: TrainingConfig, rows: Sequence[Measured], *, epochs: int, after: int
) -> Iterator[tuple[int, list[Measured]]]:
    """The steps that follow step `after`, each with its rows, in an order of its own every epoch."""
    lengths = [len(row) for row in rows]
    number = 0
    for epoch in range(epochs):
        order = bucketed_batches(lengths, batch_size=config.batch_size, seed=config.seed * 1_000_003 + epoch)
        for places in order:
            number += 1
            if number > after:
                yield number, [rows[i] for i in places]


@dataclass(slots=True)
class Encoded:
    """Rankings as elements, those of a prompt in one; what was too long, and how long everything was."""

    elements: list[Element]
    lengths: list[tuple[int, int]]
    all_tied: int = 0
    left_out: int = 0


def encode(
    config: TrainingConfig,
    rankings: Sequence[Ranking],
    tokenizer: PreTrainedTokenizerBase,
    *,
    with_ties: bool = False,
    known: dict[str, list[int]] | None = None,
) -> Encoded:
    """The rankings' elements that have a pair that counts. `known` keeps completions that were encoded before."""
    known = {} if known is None else known
    by_prompt: dict[str, Element] = {}
    found = Encoded([], [])
    for ranking in rankings:
        prompt = encode_prompt(tokenizer, ranking.messages)
        ids: list[list[int]] = []
        ranks: list[int] = []
        for text, rank in zip(ranking.completions, ranking.ranks, strict=True):
            completion = known.get(text) or known.setdefault(text, encode_completion(tokenizer, text))
            found.lengths.append((len(prompt), len(completion)))
            if fits(config, prompt, completion):
                ids.append(completion)
                ranks.append(rank)
            else:
                found.left_out += 1
        found.all_tied += len(ids) > 1 and not untied_pairs(ranks)
        by_prompt.setdefault(ranking.prompt_id, Element(prompt)).add(ids, ranks, with_ties=with_ties)
    found.elements = [element for element in by_prompt.values() if element.counted]
    return found


def prepare(
    config: TrainingConfig,
    rankings: Sequence[Ranking],
    tokenizer: PreTrainedTokenizerBase,
    *,
    context: int,
    with_ties: bool = False,
    known: dict[str, list[int]] | None = None,
) -> Elements:
    """Encodes training and validation rankings, with their ties if they count; refuses what cannot train."""
    used = [r for r in rankings if r.split in ("train", "valid")]
    _refuse_straddling(used)
    _refuse_too_few([r for r in used if r.split == "train"])
    require_room(config, context)
    train, valid = (
        encode(config, [r for r in used if r.split == split], tokenizer, with_ties=with_ties, known=known)
        for split in ("train", "valid")
    )
    left_out = train.left_out + valid.left_out
    refuse_if_most_left_out(config, train.lengths + valid.lengths, left_out, what="ranked completions", context=context)
    if sum(element.rankings for element in train.elements) < 2:
        raise CannotTrain(
            "Fewer than 2 rankings of the train split are left once completions over max_prompt_tokens or "
            "max_completion_tokens are taken out. Raise the limits, or rank shorter completions."
        )
    return Elements(train.elements, valid.elements, train.all_tied + valid.all_tied, left_out)


def _refuse_too_few(rankings: Sequence[Ranking]) -> None:
    if not rankings:
        raise CannotTrain("There are no rankings in the train split. Rank some completions first.")
    usable = [r for r in rankings if untied_pairs(r.ranks)]
    if not usable:
        raise CannotTrain(
            f"Every ranking is a tie from first to last ({len(rankings)} of them), so none says what is better."
        )
    if len(usable) < 2:
        raise CannotTrain(
            "Only 1 ranking of the train split tells completions apart; learning from rankings takes 2 at least, "
            "and hundreds to be worth optimising."
        )


def _refuse_straddling(rankings: Sequence[Ranking]) -> None:
    splits: dict[str, set[str]] = defaultdict(set)
    for ranking in rankings:
        splits[ranking.prompt_id].add(ranking.split)
    straddling = sorted(prompt for prompt, found in splits.items() if len(found) > 1)
    if straddling:
        raise CannotTrain(
            f"{len(straddling)} prompts have rankings both in train and in valid, such as {straddling[0]}: "
            "what is held out would have been trained on. Give each prompt one split."
        )
