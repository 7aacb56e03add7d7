"""Several processes that train one model together. In one process every function hands back what it was given.

Each process runs the whole trainer with the same seeds and order, computes its share of a batch's rows, and divides by
counts of the whole batch, so that gradients and figures are sums over processes: no mean of means, whatever the shares.
Gradients are added up once an optimizer step, when they are complete. What is written or shown is the first
process's affair. Simplified: adding up does not overlap with the backward pass, as DDP's would (docs/scaling.md).
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import NoReturn, TypeVar

import torch
from accelerate import PartialState
from torch import Tensor, distributed, nn
from torch.distributed.tensor import DTensor, distribute_tensor

PATIENCE = timedelta(hours=12)  # for one process while another evaluates or writes

T = TypeVar("T")
Asked = TypeVar("Asked")


def join() -> None:
    """Meets the other processes that torchrun started, and takes the device that is this process's own."""
    PartialState(timeout=PATIENCE)


def own_device() -> torch.device:
    """Where this process computes: its GPU if it has one."""
    return PartialState().device


def leave() -> NoReturn:
    """Parts with the others and ends this process at once: at a slow end, gloo's threads may outlive it and abort."""
    distributed.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)


def count() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def is_main() -> bool:
    return rank() == 0


def share(rows: Sequence[T]) -> list[T]:
    """This process's rows: every n-th, so that rows in the order of their length make equal shares."""
    return list(rows[rank() :: count()])


def gathered(own: list[T]) -> list[T]:
    """All processes' rows in the order that they had before `share`."""
    if count() == 1:
        return own
    shares = everyones(own)
    return [shares[i % count()][i // count()] for i in range(sum(map(len, shares)))]


def summed(numbers: Mapping[str, float]) -> dict[str, float]:
    """Each number added up over processes; one that a process lacks is 0 there."""
    if count() == 1:
        return dict(numbers)
    totals: dict[str, float] = {}
    for own in everyones(dict(numbers)):
        for name, number in own.items():
            totals[name] = totals.get(name, 0.0) + number
    return totals


def add_up(tensors: Iterable[Tensor]) -> None:
    """Each tensor becomes its sum over processes, in place and with the same bits everywhere."""
    if count() == 1:
        return
    device = own_device()
    sent = [(tensor, tensor.to(device)) for tensor in tensors]  # to the GPU that speaks with the others, if it has one
    waits = [distributed.all_reduce(there, async_op=True) for _, there in sent]
    for (here, there), wait in zip(sent, waits, strict=True):
        wait.wait()
        if there is not here:
            here.copy_(there)


def add_up_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Each gradient becomes its sum over processes; a parameter that no process has a gradient for keeps none."""
    if count() == 1 or any(isinstance(p, DTensor) for p in parameters):  # of shards, FSDP has added them up
        return
    has = torch.tensor([float(p.grad is not None) for p in parameters], device=own_device())
    add_up([has])
    touched = [p for p, any_has in zip(parameters, has.tolist(), strict=True) if any_has]
    for parameter in touched:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    add_up(p.grad for p in touched)


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that lies in shards; every process must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def placed_as(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor cut as `like` is."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)


def from_main(work: Callable[[], T]) -> T:
    """What `work` gives in the first process; the others wait for it and do none."""
    if count() == 1:
        return work()
    box = [work() if is_main() else None]
    distributed.broadcast_object_list(box, src=0)
    return box[0]  # type: ignore[return-value]


def agreed(ask: Callable[[Asked], T]) -> Callable[[Asked], T]:
    """`ask`, which only the first process does: its answer is everyone's."""
    return lambda question: from_main(lambda: ask(question))


def draw_apart(seed: int, step: int) -> None:
    """Dropout of its own in each process, which a resumed run draws again; one process goes on as it was."""
    if count() > 1:
        torch.manual_seed((seed * 1_000_003 + step) * 65_537 + rank())


def everyones(own: T) -> list[T]:
    """What each process holds, in the order of their ranks."""
    if count() == 1:
        return [own]
    box: list[T | None] = [None] * count()
    distributed.all_gather_object(box, own)
    return box  # type: ignore[return-value]
