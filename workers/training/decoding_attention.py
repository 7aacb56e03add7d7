"""Attention of one token a row on a CPU, as two batched products.

PyTorch's own kernel there multiplies once for every row and head, which takes longer than the numbers themselves.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from workers.training.packing import packs

_NAME = "by_products"


@contextmanager
def attending_by_products(model: PreTrainedModel) -> Iterator[None]:
    """Inside the block, where nothing trains, rows of one token attend so, if the architecture lets them."""
    was = model.config._attn_implementation
    if packs(model.config) and model.device.type == "cpu":
        model.config._attn_implementation = _NAME
    try:
        yield
    finally:
        model.config._attn_implementation = was


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, *,
    scaling: float | None = None, **options: object,
) -> tuple[Tensor, None]:  # fmt: skip
    """transformers' attention: (R, H, 1, D) over keys and values (R, heads of them, W, D) -> (R, 1, H, D)."""
    if query.shape[2] > 1 or (attention_mask is not None and attention_mask.dtype == torch.bool):
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
    rows, heads, _, size = query.shape
    # Query heads that share a head of keys lie side by side, and are multiplied by it together.
    grouped = (query * (size**-0.5 if scaling is None else scaling)).reshape(rows, key.shape[1], -1, size)
    scores = grouped @ key.transpose(-1, -2)  # (R, heads of keys, H / those, W)
    if attention_mask is not None:
        scores += attention_mask
    return (scores.softmax(dim=-1) @ value).reshape(rows, 1, heads, size), None


AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, sdpa_mask)
