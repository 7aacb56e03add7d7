"""Rankings as the reward model and DPO read them: one element a prompt, with its completions and untied pairs."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerBase

from app.datasets.examples import Ranking
from app.runs.configs import TrainingConfig
from workers.rlhf.losses import untied_pairs
from workers.training.batching import encode_completion, encode_prompt
from workers.training.limits import fits, refuse_if_most_left_out, require_room
from workers.training.loop import CannotTrain


@dataclass(slots=True)
class Element:
    """A prompt, the distinct completions that were ranked for it, and (winner, loser) pairs of indices into them.

    Several labelers may have ranked the same prompt: their pairs stand together here, so that they are never in two
    batches, and a completion that two of them ranked is encoded once.
    """

    prompt: list[int]
    completions: list[list[int]] = field(default_factory=list)
    pairs: list[tuple[int, int]] = field(default_factory=list)
    rankings: int = 0

    def __len__(self) -> int:
        """Tokens that are encoded for it."""
        return len(self.prompt) + sum(len(completion) for completion in self.completions)

    def add(self, completions: Sequence[list[int]], ranks: Sequence[int]) -> None:
        """Takes in one ranking; one that is all ties adds no pair."""
        for completion in completions:
            if completion not in self.completions:
                self.completions.append(completion)
        places = [self.completions.index(completion) for completion in completions]
        pairs = [(places[i], places[j]) for i, j in untied_pairs(list(ranks)) if places[i] != places[j]]
        self.pairs += pairs
        self.rankings += bool(pairs)


@dataclass(frozen=True, slots=True)
class Elements:
    """What trains and what is held out, and what was left aside and why."""

    train: list[Element]
    valid: list[Element]
    all_tied: int
    completions_left_out: int


def prepare(
    config: TrainingConfig, rankings: Sequence[Ranking], tokenizer: PreTrainedTokenizerBase, *, context: int
) -> Elements:
    """Encodes the rankings, a prompt's together; drops ties; refuses what cannot train."""
    used = [r for r in rankings if r.split in ("train", "valid")]
    _refuse_straddling(used)
    _refuse_too_few([r for r in used if r.split == "train"])
    require_room(config, context)
    elements: dict[str, dict[str, Element]] = {"train": {}, "valid": {}}
    lengths: list[tuple[int, int]] = []
    left_out = all_tied = 0
    for ranking in used:
        prompt = encode_prompt(tokenizer, ranking.messages)
        encoded = [
            (encode_completion(tokenizer, c), r) for c, r in zip(ranking.completions, ranking.ranks, strict=True)
        ]
        lengths += [(len(prompt), len(completion)) for completion, _ in encoded]
        fitting = [(completion, rank) for completion, rank in encoded if fits(config, prompt, completion)]
        left_out += len(encoded) - len(fitting)
        element = elements[ranking.split].setdefault(ranking.prompt_id, Element(prompt))
        before = element.rankings
        element.add([completion for completion, _ in fitting], [rank for _, rank in fitting])
        all_tied += len(fitting) > 1 and element.rankings == before
    refuse_if_most_left_out(config, lengths, left_out, what="ranked completions", context=context)
    usable = {split: [e for e in by_prompt.values() if e.pairs] for split, by_prompt in elements.items()}
    if sum(element.rankings for element in usable["train"]) < 2:
        raise CannotTrain(
            "Fewer than 2 rankings of the train split are left once completions over max_prompt_tokens or "
            "max_completion_tokens are taken out. Raise the limits, or rank shorter completions."
        )
    return Elements(usable["train"], usable["valid"], all_tied, left_out)


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
