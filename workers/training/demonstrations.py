"""What supervised fine-tuning learns from: demonstrations and plain text as token ids, and the order they come in."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from app.datasets.examples import Demonstration, Messages, Text
from app.runs.configs import SftConfig
from workers.training.batching import bucketed_batches, encode_completion, encode_prompt, shuffled_batches, text_window
from workers.training.limits import fits, refuse_if_most_left_out, require_room
from workers.training.loop import CannotTrain


@dataclass(frozen=True, slots=True)
class Row:
    """Token ids of one example; plain text is all completion."""

    prompt: list[int]
    completion: list[int]
    messages: Messages

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)

    @property
    def targets(self) -> int:
        return len(self.completion) - (not self.prompt)  # the first token of a plain text has nothing before it


@dataclass(frozen=True, slots=True)
class Data:
    train: list[Row]
    valid: list[Row]
    texts: list[str]  # mixed into training
    left_out: int

    def counts(self) -> dict[str, int]:
        """What the model card says of the data."""
        sizes = {"demonstrations": len(self.train), "validation_demonstrations": len(self.valid)}
        return sizes | {"left_out": self.left_out}


def prepare(
    config: SftConfig,
    examples: Sequence[Demonstration],
    texts: Sequence[Text],
    tokenizer: PreTrainedTokenizerBase,
    *,
    context: int,
) -> Data:
    """Encodes the demonstrations; leaves out and counts those over the limits; refuses what cannot train."""
    used = [e for e in examples if e.split in ("train", "valid") and e.completion.strip()]
    if not any(e.split == "train" for e in used):
        raise CannotTrain("There are no demonstrations in the train split. Write some, or import them, first.")
    require_room(config, context)
    plain = [text.text for text in texts if text.split == "train" and text.text.strip()]
    if config.pretraining_mix and not plain:
        raise CannotTrain("pretraining_mix is above 0 but there is no plain text. Give some, or set it to 0.")
    rows = [
        (e.split, Row(encode_prompt(tokenizer, e.messages), encode_completion(tokenizer, e.completion), e.messages))
        for e in used
    ]
    fitting = [(split, row) for split, row in rows if fits(config, row.prompt, row.completion)]
    lengths = [(len(row.prompt), len(row.completion)) for _, row in rows]
    left_out = len(rows) - len(fitting)
    refuse_if_most_left_out(config, lengths, left_out, what="demonstrations", context=context)
    train_rows = [row for split, row in fitting if split == "train"]
    if not train_rows:
        raise CannotTrain("Every demonstration of the train split is over max_prompt_tokens or max_completion_tokens.")
    valid_rows = [row for split, row in fitting if split == "valid"]
    return Data(train=train_rows, valid=valid_rows, texts=plain, left_out=left_out)


def texts_in_batch(config: SftConfig) -> int:
    """How many of a batch's examples are plain text: the share that the mix names, at least one (C.3)."""
    return max(1, round(config.pretraining_mix * config.batch_size)) if config.pretraining_mix else 0


def steps_in_epoch(config: SftConfig, data: Data) -> int:
    return -(-len(data.train) // max(1, config.batch_size - texts_in_batch(config)))


def batches(config: SftConfig, data: Data, *, after: int, by_length: bool = False) -> Iterator[list[Row]]:
    """The demonstrations of step `after` + 1 and on, to the last epoch's last.

    At random; `by_length`, for models that need padding, in batches of similar length and random order.
    """
    size = max(1, config.batch_size - texts_in_batch(config))
    lengths = [len(row) for row in data.train]
    finished, place = divmod(after, steps_in_epoch(config, data))
    for epoch in range(finished, config.epochs):
        seed = config.seed * 1_000_003 + epoch
        shuffled = shuffled_batches(len(lengths), batch_size=size, seed=seed)
        order = bucketed_batches(lengths, batch_size=size, seed=seed) if by_length else shuffled
        yield from ([data.train[i] for i in batch] for batch in order[place:])
        place = 0


def draw_texts(config: SftConfig, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, step: int) -> list[Row]:
    """Windows of plain text for this step, the same for the same seed and step."""
    rng = random.Random(f"{config.seed} {step}")
    width = config.max_prompt_tokens + config.max_completion_tokens
    count = texts_in_batch(config)
    return [Row([], text_window(tokenizer, rng.choice(texts), width, rng), []) for _ in range(count)]
