"""Rows that are continued by the model's own pass: any architecture with a cache, on any device.

Each row has the keys and values of its prompt and of what it wrote so far.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin

from workers.training.step_masks import step_masks


@dataclass(slots=True)
class Cursor:
    """Where the next key and value of each row go, and how many columns any row looks at."""

    positions: Tensor  # (R,)
    width: int = 0
    places: Tensor | None = None  # (R * heads,) the same, in a layer's keys as rows (R * heads * columns, width)

    def move(self, *, heads: int, columns: int) -> None:
        """Looks up `positions` after they have changed."""
        self.width = int(self.positions.max()) + 1
        firsts = torch.arange(len(self.positions) * heads, device=self.positions.device) * columns
        self.places = firsts + self.positions.repeat_interleave(heads)


class RowLayer(CacheLayerMixin):
    """One layer's keys and values (R, heads, columns, width): each row fills its own columns from the left."""

    def __init__(self, keys: Tensor, values: Tensor, cursor: Cursor) -> None:
        super().__init__()
        self.keys, self.values, self.cursor = keys, values, cursor
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing is lazy here."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        for kept, new in ((self.keys, key_states), (self.values, value_states)):
            rows = new.reshape(-1, new.shape[-1]).to(kept.dtype)  # under autocast the two differ
            kept.view(-1, kept.shape[-1]).index_copy_(0, self.cursor.places, rows)
        return self.keys[:, :, : self.cursor.width], self.values[:, :, : self.cursor.width]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.cursor.width, 0

    def get_seq_length(self) -> int:
        return self.cursor.width - 1

    def get_max_length(self) -> int:
        return self.keys.shape[2]


class RowsByModel:
    """The rows' states; `columns` are enough for the longest prompt and its completion."""

    def __init__(self, model: PreTrainedModel, *, rows: int, columns: int) -> None:
        self.model, self.columns = model, columns
        self.cursor = Cursor(torch.zeros(rows, dtype=torch.long, device=model.device))
        self.layers: list[RowLayer] = []

    def read(self, prompts: Sequence[Sequence[int]], rows: Tensor) -> None:
        """Read each prompt (M of them) but for its last token, once, into as many of `rows` (M * K,) as it has."""
        states = read_prompts(self.model, prompts)
        if not self.layers:
            self.layers = [self._empty_layer(keys, values) for keys, values in states]
        for layer, (keys, values) in zip(self.layers, states, strict=True):
            layer.keys[rows, :, : keys.shape[2]] = keys.repeat_interleave(len(rows) // len(prompts), dim=0)
            layer.values[rows, :, : keys.shape[2]] = values.repeat_interleave(len(rows) // len(prompts), dim=0)
        lasts = torch.tensor([len(prompt) - 1 for prompt in prompts], device=rows.device)
        self.cursor.positions[rows] = lasts.repeat_interleave(len(rows) // len(prompts))

    def step(self, tokens: Tensor) -> Tensor:
        """Logits (R, V) of what follows `tokens` (R,), the next of each row."""
        self.cursor.move(heads=self.layers[0].keys.shape[1], columns=self.columns)
        return self.model(
            input_ids=tokens[:, None],
            position_ids=self.cursor.positions[:, None],
            attention_mask=step_masks(self.model.config, self.cursor.positions, self.cursor.width),
            past_key_values=Cache(layers=self.layers),
            use_cache=True,
        ).logits[:, -1]

    def move(self, live: Tensor) -> None:
        """Rows that go on (R,) bool take their next column."""
        self.cursor.positions = self.cursor.positions + live

    def keep(self, rows: Tensor) -> None:
        """Drop all other rows."""
        self.cursor.positions = self.cursor.positions[rows]
        for layer in self.layers:
            layer.keys, layer.values = layer.keys[rows], layer.values[rows]

    def _empty_layer(self, *like: Tensor) -> RowLayer:
        rows = len(self.cursor.positions)
        keys, values = (s.new_zeros(rows, s.shape[1], self.columns, s.shape[3]) for s in like)
        return RowLayer(keys, values, self.cursor)


def read_prompts(model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> list[tuple[Tensor, Tensor]]:
    """Each layer's keys and values (M, heads, longest - 1, width) of prompts but for their last tokens.

    The last token is left to the first step, which then is a step like any other.
    """
    known = [torch.tensor(prompt[:-1] or prompt, device=model.device) for prompt in prompts]
    read = DynamicCache()
    ids = pad_sequence(known, batch_first=True)  # padding on the right is out of causality's sight
    model(input_ids=ids, past_key_values=read, use_cache=True, logits_to_keep=1)
    return [(layer.keys, layer.values) for layer in read.layers]
