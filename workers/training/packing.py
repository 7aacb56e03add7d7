"""Rows of different lengths in one pass without padding: their tokens stand one after the other in one flat row.

What works on single tokens (embeddings, projections, MLPs, norms) sees just that row. Attention goes through it
sequence by sequence, so that none sees another and no (T, T) mask is built.
"""

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from workers.training.heads import hidden_at
from workers.training.shared_prefix import shares_prefix

_NAME = "packed"


def packs(config: PreTrainedConfig) -> bool:
    """Whether this architecture's attention goes through transformers' interface, with nothing of its own beside it."""
    return shares_prefix(config)


def packed_hidden(body: PreTrainedModel, rows: Sequence[Sequence[int]], wanted: Sequence[range]) -> Tensor:
    """Hidden states (N, D) of each row's `wanted` places, row by row, each row computed as if it were alone."""
    lengths = [len(row) for row in rows]
    ids = torch.tensor([list(chain.from_iterable(rows))], device=body.device)  # (1, T)
    places = torch.tensor([list(chain.from_iterable(map(range, lengths)))], device=body.device)  # (1, T)
    where = torch.tensor([[place in own for row, own in zip(rows, wanted, strict=True) for place in range(len(row))]])
    body.config._attn_implementation = _NAME  # without lengths it is the ordinary attention
    no_mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=body.device)  # 4 dimensions: transformers builds none
    return hidden_at(
        body, where.to(body.device),
        input_ids=ids, position_ids=places, attention_mask=no_mask, packed_lengths=lengths,
    )  # fmt: skip


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, *,
    packed_lengths: list[int] | None = None, **options: object,
) -> tuple[Tensor, None]:  # fmt: skip
    """transformers' attention (1, H, T, D) -> (1, T, H, D); with lengths, each sequence by itself."""
    if packed_lengths is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    pieces = zip(*(part.split(packed_lengths, dim=2) for part in (query, key, value)), strict=True)
    seen = [sdpa_attention_forward(module, *piece, None, **options)[0] for piece in pieces]
    return torch.cat(seen, dim=1), None


AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, sdpa_mask)
