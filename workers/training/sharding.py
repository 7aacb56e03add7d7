"""FSDP: weights, gradients and Adam in shards, one in each process, for a model that one GPU cannot train.

A layer's weights are gathered when a pass comes to it and dropped behind it. torch's `fully_shard` wants every pass to
go through the model's own call, so what is computed is handed to it; and as each pass gathers from all processes, all
make as many passes, some of them for nothing. To be looked at and saved, the first process gathers a model whole.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from workers.training import processes
from workers.training.batching import micro_batches
from workers.training.processes import whole

T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)


def shard(model: M) -> M | None:
    """Leaves each process its part of every weight; gradients become sums over processes, as ours are.

    Returns the model's whole twin, which the first process has; None in the others.
    """
    twin = copy.deepcopy(model) if processes.is_main() else None
    layers = next(part for part in model.modules() if isinstance(part, nn.ModuleList))
    mesh = init_device_mesh(processes.own_device().type, (processes.count(),))
    for part in [*layers, model]:
        fully_shard(part, mesh=mesh)
        assert isinstance(part, FSDPModule)
        part.set_gradient_divide_factor(1.0)
        part.set_force_sum_reduction_for_comms(True)  # gloo can only add
    model.forward = lambda compute, *given: compute(model, *given)
    return twin


def through(model: nn.Module, compute: Callable[..., T], *given: Any) -> T:
    """`compute(model, *given)`, with the weights of a model in shards at hand."""
    return model(compute, *given) if isinstance(model, FSDPModule) else compute(model, *given)


def passes(model: nn.Module, rows: Sequence[T], size: int) -> list[tuple[list[T], float]]:
    """This process's rows in micro-batches, and what each counts: 1, or 0 for a pass that only keeps step."""
    own = processes.share(rows)
    pieces = [([own[i] for i in piece], 1.0) for piece in micro_batches(range(len(own)), size)]
    if isinstance(model, FSDPModule):
        most = -(-len(rows) // processes.count())
        pieces += [([rows[-1]], 0.0)] * (-(-most // size) - len(pieces))
    return pieces


@torch.no_grad()
def gather(model: nn.Module, into: nn.Module | None) -> None:
    """Copies what trains of a model in shards into its whole twin, which only the first process has."""
    if into is model:
        return
    twins = dict(into.named_parameters()) if into is not None else {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            weight = whole(parameter)
            if twins:
                twins[name].copy_(weight)
