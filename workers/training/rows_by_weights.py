"""Rows of Llama-like models on a CPU, continued without the model's modules, a prompt's keys kept once for its rows.

A step of few rows is bound by what it reads from memory and by the number of small operations. So the rows of a prompt
are multiplied by its keys and values together, query, key and value come from one product and gate and up from
another, and each weight lies as oneDNN reads it fastest. The formulas are transformers' own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from workers.training.heads import LLAMA_LIKE, body_and_head
from workers.training.matmul import laid_out
from workers.training.packing import packs
from workers.training.rows_by_model import read_prompts

MORE_COLUMNS = 16  # that rows get when they have none left


def goes_by_weights(model: PreTrainedModel) -> bool:
    """Whether this model's steps can be taken so: no window, and rotary positions that do not change as rows grow."""
    config = model.config
    if config.model_type not in LLAMA_LIKE or not packs(config) or torch.is_autocast_enabled("cpu"):
        return False
    is_fixed = not config.rope_parameters["rope_type"].startswith(("dynamic", "longrope"))
    return is_fixed and model.device.type == "cpu" and model.dtype == torch.float32


class Layer:
    """What a layer computes of one token a row."""

    def __init__(self, layer: nn.Module) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.attention, self.act = attention, mlp.act_fn
        self.before_attention, self.before_mlp = layer.input_layernorm, layer.post_attention_layernorm
        self.queries_keys_values = laid_out(attention.q_proj, attention.k_proj, attention.v_proj)
        self.out = laid_out(attention.o_proj)
        self.gate_up, self.down = laid_out(mlp.gate_proj, mlp.up_proj), laid_out(mlp.down_proj)

    def asked_kept(self, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (R, heads, size), keys and values (R, H, size) of hidden states (R, d)."""
        attention = self.attention
        heads = attention.config.num_attention_heads
        both = heads + attention.config.num_key_value_heads
        parts = self.queries_keys_values(normed(hidden, self.before_attention)).unflatten(-1, (-1, attention.head_dim))
        turned = parts[:, :both]
        if hasattr(attention, "q_norm"):
            asked, kept = parts[:, :heads], parts[:, heads:both]
            turned = torch.cat([normed(asked, attention.q_norm), normed(kept, attention.k_norm)], dim=1)
        if getattr(attention, "use_rope", True):
            turned = torch.addcmul(turned * cos, turned.roll(attention.head_dim // 2, dims=-1), sin)
        return turned[:, :heads], turned[:, heads:], parts[:, both:]

    def mlp(self, hidden: Tensor) -> Tensor:
        gate, up = self.gate_up(normed(hidden, self.before_mlp)).chunk(2, dim=-1)
        return self.down(self.act(gate).mul_(up))


def normed(x: Tensor, norm: nn.Module) -> Tensor:
    return F.rms_norm(x, norm.weight.shape, norm.weight, norm.variance_epsilon)


@dataclass(frozen=True, slots=True)
class Groups:
    """Which rows share a prompt: the places (G * M) of a grid with a prompt a line, M the most rows that one has."""

    lines: int
    row: Tensor  # (G * M,) the row at each place; any row where there is none
    place: Tensor  # (R,) each row's place; any place for rows that have ended
    in_order: bool  # row and place are 0, 1, 2, ...

    def together(self, rows: Tensor) -> Tensor:
        """(H, R, g, n) -> (H * G, M * g, n)"""
        grid = rows if self.in_order else rows.index_select(1, self.row)
        return grid.reshape(len(rows) * self.lines, -1, rows.shape[-1])

    def apart(self, grid: Tensor, *, heads: int, group: int) -> Tensor:
        """(H * G, M * g, n) -> (H, R, g, n)"""
        rows = grid.view(heads, -1, group, grid.shape[-1])
        return rows if self.in_order else rows.index_select(1, self.place)


def grouped(line: Tensor, live: Tensor) -> Groups:
    """The grid of the rows (R,) that are live, each in its prompt's line."""
    rows = live.nonzero()[:, 0]
    rows = rows[line[rows].argsort(stable=True)]
    counts = line[rows].bincount()  # (G,)
    most = int(counts.max())
    taken = line[rows] * most + torch.arange(len(rows)) - (counts.cumsum(0) - counts)[line[rows]]
    row = torch.zeros(len(counts) * most, dtype=torch.long).index_copy(0, taken, rows)
    place = torch.zeros_like(line).index_copy(0, rows, taken)
    every = torch.arange(len(line))
    return Groups(len(counts), row, place, torch.equal(row, every) and torch.equal(place, every))


@dataclass(slots=True)
class States:
    """One layer's keys and values: each row's own, and of the prompts that rows share."""

    keys: Tensor  # (H, R, C, size)
    values: Tensor
    prompt_keys: Tensor | None = None  # (H, G, P, size)
    prompt_values: Tensor | None = None


def attend(query: Tensor, states: States, *, groups: Groups | None, mask: Tensor, scaling: float) -> Tensor:
    """Attention of queries (H, R, g, size) over their prompts' columns and their own: the same shape.

    `mask` (R, 1, P + C) is added to the scores; H are heads of keys, g the query heads that share one.
    """
    heads, rows, group, size = query.shape
    keys, values = states.keys.flatten(0, 1), states.values.flatten(0, 1)  # (H * R, C, size)
    scores = torch.bmm(query.reshape(heads * rows, group, size), keys.transpose(1, 2)).view(heads, rows, group, -1)
    if groups is None:
        weights = scores.mul_(scaling).add_(mask).softmax(dim=-1)
        return torch.bmm(weights.flatten(0, 1), values).view(query.shape)
    prompt_keys, prompt_values = states.prompt_keys.flatten(0, 1), states.prompt_values.flatten(0, 1)
    shared = torch.bmm(groups.together(query), prompt_keys.transpose(1, 2))  # (H * G, M * g, P)
    scores = torch.cat([groups.apart(shared, heads=heads, group=group), scores], dim=-1)
    weights = scores.mul_(scaling).add_(mask).softmax(dim=-1)
    of_prompt, of_own = weights[..., : shared.shape[-1]], weights[..., shared.shape[-1] :]
    seen = groups.apart(torch.bmm(groups.together(of_prompt), prompt_values), heads=heads, group=group)
    return torch.bmm(of_own.flatten(0, 1), values).view(query.shape).add_(seen)


class RowsByWeights:
    """The rows' states. With `copies` rows a prompt, its keys and values are kept once for them; one row holds its own.

    `columns` are enough for the longest prompt and its completion.
    """

    def __init__(self, model: PreTrainedModel, *, rows: int, copies: int, columns: int) -> None:
        body, _ = body_and_head(model)
        self.model, self.body, self.head = model, body, laid_out(model.get_output_embeddings())
        self.layers = [Layer(layer) for layer in body.layers]
        self.shares = copies > 1
        cos, sin = body.rotary_emb(body.embed_tokens.weight, torch.arange(columns)[None])
        half = sin.shape[-1] // 2
        self.cos, self.sin = cos[0], torch.cat([-sin[0, :, :half], sin[0, :, half:]], dim=-1)  # (T, size)
        empty = torch.zeros(model.config.num_key_value_heads, rows, 0, 2 * half)
        self.states = [States(empty, empty) for _ in self.layers]
        self.positions = torch.zeros(rows, dtype=torch.long)  # of each row's next token
        self.known = torch.zeros(rows, dtype=torch.long)  # tokens in its prompt's columns
        self.line = torch.zeros(rows, dtype=torch.long)  # its prompt's place among those that are kept
        self.live = torch.zeros(rows, dtype=torch.bool)
        self.groups: Groups | None = None
        self.mask: Tensor | None = None  # (R, 1, P + C); None: it has to be made

    def read(self, prompts: Sequence[Sequence[int]], rows: Tensor) -> None:
        """Read each prompt (M of them) but for its last token, once, for as many of `rows` (M * K,) as it has."""
        read, copies = read_prompts(self.model, prompts), len(rows) // len(prompts)
        if self.shares:
            self._forget_prompts()
        self.live[rows] = True
        self.positions[rows] = torch.tensor([len(prompt) - 1 for prompt in prompts]).repeat_interleave(copies)
        if self.shares:
            self._share(read, rows)
        else:
            self._make_room(read[0][0].shape[2])
            for states, (keys, values) in zip(self.states, read, strict=True):
                states.keys[:, rows, : keys.shape[2]] = keys.transpose(0, 1)
                states.values[:, rows, : keys.shape[2]] = values.transpose(0, 1)
        self.mask = None

    def step(self, tokens: Tensor) -> Tensor:
        """Logits (R, V) of what follows `tokens` (R,), the next of each row."""
        columns = self.positions - self.known  # (R,) where its key and value go among its own
        self._make_room(int(columns.max()) + 1)
        mask, places = self._mask_at(columns), self._places(columns)
        cos, sin = self.cos[self.positions][:, None], self.sin[self.positions][:, None]  # (R, 1, size)
        hidden = self.body.embed_tokens(tokens)  # (R, d)
        for layer, states in zip(self.layers, self.states, strict=True):
            query, key, value = layer.asked_kept(hidden, cos, sin)
            states.keys.view(-1, key.shape[2]).index_copy_(0, places, key.reshape(-1, key.shape[2]))
            states.values.view(-1, key.shape[2]).index_copy_(0, places, value.reshape(-1, key.shape[2]))
            asked = query.unflatten(1, (key.shape[1], -1)).transpose(0, 1)  # heads that share keys lie side by side
            seen = attend(asked, states, groups=self.groups, mask=mask, scaling=layer.attention.scaling)
            hidden = hidden + layer.out(seen.transpose(0, 1).reshape(len(tokens), -1))
            hidden = hidden + layer.mlp(hidden)
        return self.head(normed(hidden, self.body.norm))

    def move(self, live: Tensor) -> None:
        """Rows that go on (R,) bool take their next column; what the others hold counts no more."""
        self.live = live
        self.positions = self.positions + live

    def keep(self, rows: Tensor) -> None:
        """Drop all other rows."""
        self.positions, self.known, self.line, self.live = (
            numbers[rows] for numbers in (self.positions, self.known, self.line, self.live)
        )
        for states in self.states:
            states.keys, states.values = states.keys[:, rows], states.values[:, rows]
        if self.shares:
            self._forget_prompts()
            self.groups = grouped(self.line, self.live)
        self.mask = None

    def _share(self, read: list[tuple[Tensor, Tensor]], rows: Tensor) -> None:
        """Add prompts' states to those that are kept."""
        kept = self.states[0].prompt_keys
        first, count = 0 if kept is None else kept.shape[1], len(read[0][0])
        self.known[rows] = self.positions[rows]
        self.line[rows] = first + torch.arange(count).repeat_interleave(len(rows) // count)
        width = max(1, int(self.known[self.live].max()))
        for states, (keys, values) in zip(self.states, read, strict=True):
            states.prompt_keys = stacked(states.prompt_keys, keys.transpose(0, 1), width=width)
            states.prompt_values = stacked(states.prompt_values, values.transpose(0, 1), width=width)
        self.groups = grouped(self.line, self.live)

    def _forget_prompts(self) -> None:
        """Drop those of which every row has ended."""
        lines = self.line[self.live].unique()
        self.line = torch.searchsorted(lines, self.line) * self.live
        for states in self.states:
            if states.prompt_keys is not None:
                states.prompt_keys, states.prompt_values = states.prompt_keys[:, lines], states.prompt_values[:, lines]

    def _make_room(self, columns: int) -> None:
        """Let every row have so many. They lie in one piece without many more between: else reading them is slow."""
        lacking = columns - self.states[0].keys.shape[2]
        if lacking > 0:
            more = (0, 0, 0, -(-lacking // MORE_COLUMNS) * MORE_COLUMNS)
            for states in self.states:
                states.keys, states.values = F.pad(states.keys, more), F.pad(states.values, more)
            self.mask = None

    def _mask_at(self, columns: Tensor) -> Tensor:
        """(R, 1, P + C) to be added to scores: rows look at their prompts' real columns and at their own so far."""
        most = self.states[0].keys.shape[2]
        if self.mask is None:
            hidden = torch.arange(most) > columns[:, None]
            if self.shares:
                padded = torch.arange(self.states[0].prompt_keys.shape[2]) >= self.known[:, None]
                hidden = torch.cat([padded, hidden], dim=1)
            self.mask = torch.zeros(hidden.shape).masked_fill(hidden, -torch.inf)[:, None]
        width = self.mask.shape[2]
        self.mask.view(-1).index_fill_(0, torch.arange(width - most, len(columns) * width, width) + columns, 0.0)
        return self.mask

    def _places(self, columns: Tensor) -> Tensor:
        """(R * H,) where the rows' next keys go, in a layer's keys as rows (H * R * C, size)."""
        heads, rows, most, _ = self.states[0].keys.shape
        firsts = torch.arange(rows)[:, None] * most + torch.arange(heads) * (rows * most)
        return (firsts + columns[:, None]).flatten()


def stacked(kept: Tensor | None, new: Tensor, *, width: int) -> Tensor:
    """Prompts' keys (H, G, P, size) and those of new ones, all `width` columns wide."""
    parts = [part for part in (kept, new) if part is not None]
    return torch.cat([F.pad(part, (0, 0, 0, width - part.shape[2])) for part in parts], dim=1)
