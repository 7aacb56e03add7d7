"""The loss of supervised fine-tuning: -log p of completions and their end tokens, given their prompts."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from app.runs.configs import SftConfig
from workers.rlhf.masking import completion_targets
from workers.training.batching import micro_batches, pad
from workers.training.demonstrations import Row
from workers.training.heads import body_and_head, hidden_at, summed_nll
from workers.training.models import autocast
from workers.training.packing import packed_hidden, packs
from workers.training.processes import summed
from workers.training.sharding import passes, through

EVALUATION_BATCH = 16


def accumulate(model: PreTrainedModel, rows: Sequence[Row], *, config: SftConfig, share: float) -> float:
    """Adds the gradient of `share` x the mean loss over the rows' target tokens, a micro-batch at a time.

    The mean is over the tokens of all rows, so neither the micro-batch size nor the number of processes, each of which
    takes its share of them, changes anything. Returns the mean loss.
    """
    targets = sum(row.targets for row in rows)
    total = 0.0
    for piece, counts in passes(model, rows, config.micro_batch_size):
        with autocast(config.precision):
            nll = through(model, completion_nll, piece)
        (nll * (counts * share / targets)).backward()
        total += counts * float(nll.detach())
    return summed({"nll": total})["nll"] / targets


def mean_nll(model: PreTrainedModel, rows: Sequence[Row]) -> float:
    """-log p a target token, over all rows."""
    by_length = sorted(rows, key=len)
    pieces = micro_batches(range(len(by_length)), EVALUATION_BATCH)
    total = sum(float(completion_nll(model, [by_length[i] for i in piece])) for piece in pieces)
    return total / sum(row.targets for row in rows)


def padding_share(model: PreTrainedModel, rows: Sequence[Row], *, micro_batch_size: int) -> float:
    """How much of what the model computes for a batch is padding."""
    if packs(model.config):
        return 0.0
    pieces = micro_batches([len(row) for row in rows], micro_batch_size)
    return 1 - sum(map(sum, pieces)) / sum(len(piece) * max(piece) for piece in pieces)


def completion_nll(model: PreTrainedModel, rows: Sequence[Row]) -> Tensor:
    """Sum of -log p over the rows' completion and end tokens, given their prompts."""
    hidden, targets = (_packed if packs(model.config) else _padded)(model, rows)
    return summed_nll(model, hidden, targets)


def _packed(model: PreTrainedModel, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """Hidden states (N, D) of the positions before the N targets, and the targets (N,); no padding."""
    body, _ = body_and_head(model)
    before = [range(len(row) - row.targets - 1, len(row) - 1) for row in rows]  # position t predicts token t + 1
    hidden = packed_hidden(body, [row.prompt + row.completion for row in rows], before)
    targets = torch.tensor([token for row in rows for token in row.completion[-row.targets :]])
    return hidden, targets.to(hidden.device)


def _padded(model: PreTrainedModel, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """The same for any architecture."""
    ids, _ = pad([row.prompt + row.completion for row in rows], value=0)  # (B, T)
    where = completion_targets([(len(row.prompt), len(row.completion)) for row in rows], ids.shape[1])  # (B, T)
    targets = ids.roll(-1, dims=1)[where]  # (N,)
    body, _ = body_and_head(model)
    # Padding stands on the right, out of causal attention's sight: no mask, and the fastest kernel.
    return hidden_at(body, where.to(model.device), input_ids=ids.to(model.device)), targets.to(model.device)
