"""Draws completions from a causal language model, a prompt's keys and values computed once for all its completions.

A prompt is read once; its keys and values are copied for its K completions into buffers with room for the
new tokens, which all rows write at the same slot. What stands between a short prompt and that slot is masked.
Rows that have ended leave the batch. Which token comes next is a function of the row's own uniform numbers,
never of a global random state or of the rows beside it.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import Cache, CacheLayerMixin

LIVE_SHARE = 0.75  # the batch is cut down to its live rows when fewer than this share are left


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """Every parameter of the sampling; nothing is taken from the model's own generation settings."""

    max_new_tokens: int
    eos_ids: frozenset[int]
    temperature: float = 1.0  # 0: the most likely token
    top_p: float = 1.0
    rows: int = 128  # completions in flight at once


@dataclass(slots=True)
class Drawn:
    """One completion: its tokens with the EOS that ended it, and each token's log-probability.

    The log-probabilities are those of the model at this temperature, before top-p cut anything off
    (at temperature 0, the model's own).
    """

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ended: bool = False  # by an EOS, not by the limit


class RoomyLayer(CacheLayerMixin):
    """Keys and values (rows, heads, slots, width) with the slots of the whole completion set aside."""

    def __init__(self, keys: Tensor, values: Tensor, used: int) -> None:
        super().__init__()
        self.keys, self.values, self.used = keys, values, used
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing is lazy here."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        start, self.used = self.used, self.used + key_states.shape[2]
        self.keys[:, :, start : self.used] = key_states
        self.values[:, :, start : self.used] = value_states
        return self.keys[:, :, : self.used], self.values[:, :, : self.used]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.used + query_length, 0

    def get_seq_length(self) -> int:
        return self.used

    def get_max_length(self) -> int:
        return -1


def draw_completions(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], uniforms: Tensor, *, decoding: Decoding
) -> list[list[Drawn]]:
    """Draw K completions for each prompt; `uniforms` (prompts, K, max_new_tokens) in [0, 1) decide them.

    Prompts of like length share a batch; the answer keeps the order of `prompts`.
    """
    n_prompts, copies, length = uniforms.shape
    assert n_prompts == len(prompts), "one row of uniform numbers a prompt"
    assert length >= decoding.max_new_tokens, "one uniform number a token"
    assert all(prompts), "a prompt has at least one token"
    drawn: list[list[Drawn]] = [[] for _ in prompts]
    for group in groups_of_like_length(prompts, max(1, decoding.rows // copies)):
        rows = draw_group(model, [prompts[i] for i in group], uniforms[group], decoding=decoding)
        for place, i in enumerate(group):
            drawn[i] = rows[place * copies : (place + 1) * copies]
    return drawn


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokens that end a completion: the tokenizer's EOS and whatever else the model's settings name."""
    named = model.generation_config.eos_token_id if model.generation_config else None
    also = named if isinstance(named, list) else [] if named is None else [named]
    return frozenset([tokenizer.eos_token_id, *also])


def uniform_numbers(seed: int, *names: object, shape: tuple[int, ...]) -> Tensor:
    """Numbers in [0, 1) that belong to this seed and these names, whatever else was drawn before."""
    digest = hashlib.sha256(repr((seed, *names)).encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return torch.rand(shape, generator=generator)


def groups_of_like_length(prompts: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    return (order[start : start + size] for start in range(0, len(order), size))


@torch.no_grad()
def draw_group(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], uniforms: Tensor, *, decoding: Decoding
) -> list[Drawn]:
    """Draw one batch to its end. Returns prompts x K completions, a prompt's own side by side."""
    assert not model.training, "dropout must be off while completions are drawn"
    copies, slots = uniforms.shape[1], decoding.max_new_tokens
    device = model.device
    uniforms = uniforms.flatten(0, 1)[:, :slots].to(device)  # (rows, slots)
    cache = read_prompts(model, prompts, copies=copies, slots=slots)
    lengths = torch.tensor([len(prompt) - 1 for prompt in prompts], device=device).repeat_interleave(copies)
    mask = slot_mask(lengths, cache.get_seq_length(), slots)
    tokens = torch.tensor([prompt[-1] for prompt in prompts], device=device).repeat_interleave(copies)  # (rows,)
    drawn = [Drawn() for _ in range(len(lengths))]
    live = list(range(len(lengths)))  # live[r]: whose completion row r of the batch is
    for slot in range(slots):
        logits = model(
            input_ids=tokens[:, None],
            position_ids=(lengths + slot)[:, None],
            attention_mask=mask if mask is None else mask[..., : cache.get_seq_length() + 1],
            past_key_values=cache,
            use_cache=True,
        ).logits[:, -1]
        tokens, logprobs = pick_tokens(logits.float(), uniforms[:, slot], decoding=decoding)
        note_tokens(drawn, live, tokens.tolist(), logprobs.tolist(), decoding.eos_ids)
        kept = [r for r, i in enumerate(live) if not drawn[i].ended]
        if not kept:
            break
        if len(kept) <= LIVE_SHARE * len(live):
            rows = torch.tensor(kept, device=device)
            live = [live[r] for r in kept]
            tokens, lengths, uniforms = tokens[rows], lengths[rows], uniforms[rows]
            mask = mask if mask is None else mask[rows]
            keep_rows(cache, rows)
    return drawn


def read_prompts(model: PreTrainedModel, prompts: Sequence[Sequence[int]], *, copies: int, slots: int) -> Cache:
    """Keys and values of all but each prompt's last token, K copies of each, with room for `slots` more."""
    known = [torch.tensor(prompt[:-1] or prompt, device=model.device) for prompt in prompts]
    read = DynamicCache()
    ids = pad_sequence(known, batch_first=True)  # padding on the right is out of causality's sight
    model(input_ids=ids, past_key_values=read, use_cache=True, logits_to_keep=1)
    return Cache(layers=[roomy_copies(layer.keys, layer.values, copies, slots) for layer in read.layers])


def roomy_copies(keys: Tensor, values: Tensor, copies: int, slots: int) -> RoomyLayer:
    used = keys.shape[2]

    def spread(states: Tensor) -> Tensor:
        rows, heads, _, width = states.shape
        room = states.new_zeros(rows, copies, heads, used + slots, width)
        room[..., :used, :] = states[:, None]
        return room.flatten(0, 1)

    return RoomyLayer(spread(keys), spread(values), used)


def keep_rows(cache: Cache, rows: Tensor) -> None:
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys[rows], layer.values[rows]


def slot_mask(lengths: Tensor, used: int, slots: int) -> Tensor | None:
    """(rows, 1, 1, used + slots): -inf between the end of a row's prompt and the first new slot. None: no gap."""
    if bool((lengths == used).all()):
        return None
    columns = torch.arange(used + slots, device=lengths.device)
    gap = (columns >= lengths[:, None]) & (columns < used)
    return torch.zeros(gap.shape, device=lengths.device).masked_fill(gap, -torch.inf)[:, None, None]


def pick_tokens(logits: Tensor, uniforms: Tensor, *, decoding: Decoding) -> tuple[Tensor, Tensor]:
    """Choose one token a row by inverting its cumulative distribution: (rows, V), (rows,) -> (rows,), (rows,)."""
    if decoding.temperature == 0:
        tokens = logits.argmax(dim=-1)
        return tokens, logits.log_softmax(dim=-1).gather(1, tokens[:, None])[:, 0]
    logits = logits / decoding.temperature
    threshold = (1.0 - uniforms)[:, None]  # in (0, 1], so no token of probability 0 can be hit
    if decoding.top_p < 1.0:
        probs, order = logits.softmax(dim=-1).sort(dim=-1, descending=True)
        probs = probs.masked_fill(probs.cumsum(dim=-1) - probs >= decoding.top_p, 0.0)
        tokens = order.gather(1, invert(probs, threshold))
    else:
        tokens = invert(logits.softmax(dim=-1), threshold)
    logprobs = logits.gather(1, tokens) - logits.logsumexp(dim=-1, keepdim=True)
    return tokens[:, 0], logprobs[:, 0]


def invert(probs: Tensor, threshold: Tensor) -> Tensor:
    cumulative = probs.cumsum(dim=-1)
    return torch.searchsorted(cumulative, threshold * cumulative[:, -1:])


def note_tokens(
    drawn: list[Drawn], live: list[int], tokens: list[int], logprobs: list[float], eos_ids: frozenset[int]
) -> None:
    for i, token, logprob in zip(live, tokens, logprobs, strict=True):
        if drawn[i].ended:  # still in the batch, but nothing after EOS counts
            continue
        drawn[i].tokens.append(token)
        drawn[i].logprobs.append(logprob)
        drawn[i].ended = token in eos_ids
