"""What the one token that each row adds may look at, in an architecture with windows as in one without."""

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from workers.training.loop import CannotTrain

_KNOWN = {"full_attention", "sliding_attention"}


def refuse_unknown_attention(config: PreTrainedConfig) -> None:
    """A layer whose attention is of another kind would see something else than the model's own pass."""
    if unknown := sorted({*_layer_types(config)} - _KNOWN):
        raise CannotTrain(
            f"Completions cannot be drawn from a {config.model_type} with {', '.join(unknown)}: layers of full or "
            "sliding attention are needed. It can be trained on demonstrations and as a reward model."
        )


def step_masks(config: PreTrainedConfig, positions: Tensor, width: int) -> Tensor | dict[str, Tensor | None] | None:
    """The mask that transformers takes for tokens at `positions` (R,) over columns 0..width - 1, each token's own past.

    One (R, 1, 1, width) to be added to the scores, None where nothing is hidden; one by kind of layer if there are two.
    """
    ahead = torch.arange(width, device=positions.device) - positions[:, None]  # (R, width)
    window = getattr(config, "sliding_window", None)
    full = ahead > 0
    sliding = full | (ahead <= -window) if window else full
    if "sliding_attention" in _layer_types(config):
        return {"full_attention": _added(full), "sliding_attention": _added(sliding)}
    return _added(full if _layer_types(config) else sliding)


def _layer_types(config: PreTrainedConfig) -> list[str]:
    """Each layer's kind; none where all are alike and a window, if there is one, holds for all."""
    return getattr(config, "layer_types", None) or []


def _added(hidden: Tensor) -> Tensor | None:
    if not bool(hidden.any()):
        return None
    return torch.zeros(hidden.shape, device=hidden.device).masked_fill(hidden, -torch.inf)[:, None, None]
