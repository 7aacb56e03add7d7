"""One pass over prompts and all the completions of each, every real token once: no padding, no prompt read twice.

The tokens of a batch stand in one flat row, all prompts first. What works on single tokens (embeddings, projections,
MLPs, norms) sees just that row; attention lays it out as prompts and completions, and each completion looks at its
prompt's keys and values and at its own. For scores the last layer computes only what is read: the last token's part.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from workers.rlhf.masking import shared_prefix_mask

# Architectures whose attention goes through transformers' AttentionInterface with nothing of their own beside it; the
# tests compare each with the plain computation. Any other is scored plainly, the prompt once for every completion.
SHARES_PREFIX = frozenset({"llama", "mistral", "qwen2", "qwen3", "gpt2", "gpt_neox", "smollm3"})
_NAME = "shared_prefix"
# What of a layer works on single tokens and is not asked for keys or values, as the architectures above name it.
_OF_THE_READ = frozenset({"mlp", "self_attn.q_proj", "self_attn.o_proj", "attn.c_proj", "attention.dense"})


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the flat row of T tokens has M prompts and N completions, padded on the right to P and C."""

    prompts: Tensor  # (M, P) places in the flat row
    completions: Tensor  # (N, C) places in the flat row
    owner: Tensor  # (N,) each completion's prompt
    visible: Tensor  # (N, 1, C, P + C) what each completion token may look at
    visible_last: Tensor  # (N, 1, 1, P + C) and its last real token
    real: Tensor  # (T,) where the flat row's tokens stand among the padded M * P + N * C
    last: Tensor  # (N,) places of the completions' last tokens in the flat row
    positions: Tensor  # (1, T)
    last_layer: int


def shares_prefix(config: PreTrainedConfig) -> bool:
    return config.model_type in SHARES_PREFIX and not getattr(config, "sliding_window", None)


def last_hidden(body: PreTrainedModel, prompts: Sequence[list[int]], completions: Sequence[list[list[int]]]) -> Tensor:
    """Hidden state (N, D) of every completion's last token, given its prompt, in order."""
    layout = _layout(prompts, completions, body)
    with _only_last(body, layout):
        return _encoded(body, prompts, completions, layout)[layout.last]


def predicting_hidden(
    body: PreTrainedModel, prompts: Sequence[list[int]], completions: Sequence[list[list[int]]]
) -> Tensor:
    """Hidden states (n, D) that predict the completions' n tokens, in order: of the token before each.

    Before a completion's first token stands its prompt's last one.
    """
    layout = replace(_layout(prompts, completions, body), last_layer=-1)  # every one but the prompts' is read
    hidden = _encoded(body, prompts, completions, layout)
    ends = torch.tensor([len(prompt) for prompt in prompts]).cumsum(0) - 1  # (M,) places of the prompts' last tokens
    lengths = torch.tensor([len(completion) for own in completions for completion in own])  # (N,)
    before = torch.arange(int(ends[-1]), len(hidden) - 1)  # (n,) the place before each token's
    before[lengths.cumsum(0) - lengths] = ends[layout.owner.cpu()]
    return hidden[before.to(hidden.device)]


def _encoded(
    body: PreTrainedModel, prompts: Sequence[list[int]], completions: Sequence[list[list[int]]], layout: Layout
) -> Tensor:
    """Hidden states (T, D) of the flat row."""
    flat = [token for prompt in prompts for token in prompt]
    flat += [token for own in completions for completion in own for token in completion]
    body.config._attn_implementation = _NAME  # without a layout it is the ordinary attention
    return body(
        input_ids=torch.tensor([flat], device=body.device),
        position_ids=layout.positions,
        attention_mask=layout.visible_last[:1],  # of four dimensions, so that transformers builds none of its own
        use_cache=False,
        layout=layout,
    ).last_hidden_state[0]


def _layout(prompts: Sequence[list[int]], completions: Sequence[list[list[int]]], body: PreTrainedModel) -> Layout:
    lengths = torch.tensor([len(prompt) for prompt in prompts])  # (M,)
    own_lengths = torch.tensor([len(completion) for own in completions for completion in own])  # (N,)
    owner = torch.tensor([number for number, own in enumerate(completions) for _ in own])
    places, mask = _padded_places(lengths, 0)
    own_places, own_mask = _padded_places(own_lengths, int(lengths.sum()))
    visible = shared_prefix_mask(mask[owner], own_mask.shape[1])
    tensors = {
        "prompts": places, "completions": own_places, "owner": owner, "visible": visible,
        "visible_last": visible[torch.arange(len(owner)), :, own_lengths - 1].unsqueeze(2),
        "real": torch.cat([mask.flatten(), own_mask.flatten()]).nonzero().squeeze(-1),
        "last": own_places[torch.arange(len(owner)), own_lengths - 1],
        "positions": torch.cat([_counted(mask), (_counted(own_mask, lengths[owner]))]).unsqueeze(0),
    }  # fmt: skip
    on_device = {name: tensor.to(body.device) for name, tensor in tensors.items()}
    return Layout(**on_device, last_layer=body.config.num_hidden_layers - 1)


def _padded_places(lengths: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """Places (B, L) of consecutive rows in a flat one that begin at `first`, and which of them are real."""
    starts = first + lengths.cumsum(0) - lengths
    counted = torch.arange(int(lengths.max()))
    mask = counted < lengths[:, None]
    return starts[:, None] + counted * mask, mask


def _counted(mask: Tensor, before: Tensor | int = 0) -> Tensor:
    """Position of every real token, rows one after the other."""
    counted = torch.arange(mask.shape[1]) + torch.as_tensor(before).reshape(-1, 1)
    return counted.expand(mask.shape)[mask]


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, *,
    layout: Layout | None = None, **options: object,
) -> tuple[Tensor, None]:  # fmt: skip
    """transformers' attention (1, H, T, D) -> (1, T, H, D); with a layout, over prompts and completions apart."""
    if layout is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    keys, values = (_take(part, layout.prompts) for part in (key, value))  # (M, H, P, D)
    own_keys, own_values = (
        torch.cat([shared[layout.owner], _take(part, layout.completions)], dim=2)
        for shared, part in ((keys, key), (values, value))
    )  # (N, H, P + C, D)
    if module.layer_idx == layout.last_layer:
        asked = _take(query, layout.last[:, None])  # (N, H, 1, D)
        own, _ = sdpa_attention_forward(module, asked, own_keys, own_values, layout.visible_last, **options)
        return _scattered(own.transpose(0, 1), layout.last, query.shape[2]), None
    asked = _take(query, layout.completions)  # (N, H, C, D)
    own, _ = sdpa_attention_forward(module, asked, own_keys, own_values, layout.visible, **options)
    # Padding stands on the right, so under causal attention no real token sees it and no mask is needed.
    read, _ = sdpa_attention_forward(module, _take(query, layout.prompts), keys, values, None, **options)
    heads = own.shape[2:]
    padded = torch.cat([read.reshape(-1, heads.numel()), own.reshape(-1, heads.numel())])
    return F.embedding(layout.real, padded).unflatten(-1, heads).unsqueeze(0), None


def _take(part: Tensor, places: Tensor) -> Tensor:
    """(1, H, T, D) at places (B, L) -> (B, H, L, D). The gradient of F.embedding is summed faster than indexing's."""
    _, heads, _, size = part.shape
    rows = part[0].transpose(0, 1).reshape(-1, heads * size)  # (T, H * D)
    return F.embedding(places, rows).unflatten(-1, (heads, size)).transpose(1, 2)


def _scattered(rows: Tensor, places: Tensor, length: int) -> Tensor:
    """(1, N, ...) at places (N,) of zeros (1, length, ...)."""
    return rows.new_zeros(1, length, *rows.shape[2:]).index_copy(1, places, rows)


@contextmanager
def _only_last(body: PreTrainedModel, layout: Layout) -> Iterator[None]:
    """Inside the block the last layer computes only the tokens that are read, but for their keys and values."""
    layer = (body.h if hasattr(body, "h") else body.layers)[-1]
    if layer.training and getattr(layer, "gradient_checkpointing", False):  # computed again when the block is over
        yield
        return

    def pick(_: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
        return (given[0][:, layout.last],)

    def put_back(_: nn.Module, __: tuple[Tensor], made: Tensor) -> Tensor:
        return _scattered(made, layout.last, layout.positions.shape[1])

    parts = [module for name, module in layer.named_modules() if name in _OF_THE_READ]
    hooks = [hook for part in parts
             for hook in (part.register_forward_pre_hook(pick), part.register_forward_hook(put_back))]  # fmt: skip
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, sdpa_mask)
