"""Checkpoints that a killed run goes on from as if nothing had happened: written beside, renamed, the last two kept.

No pickle: tensors in safetensors, the rest in JSON.
"""

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from workers.training.loop import CannotTrain, OnStep, Signal, Step
from workers.training.processes import is_main, placed_as, whole

KEPT = 2

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint holds beside the modules, optimizers and random states that loading it restores."""

    step: int
    extra: Json
    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)


def tell(on_step: OnStep, step: Step, saving: Callable[[], AbstractContextManager[None]], *, due: bool) -> Signal:
    """The caller's answer to a step, with a checkpoint where one is due or the caller says stop.

    The step is in the caller's hands before its checkpoint counts: killed between the two, it is done and told again.
    The other way round, nobody would ever hear of it.
    """
    if due:
        with saving():
            return on_step(replace(step, checkpointed=True))
    signal = on_step(step)
    if signal is Signal.STOP:
        with saving():
            return signal
    return signal


@contextmanager
def saving_checkpoint(
    folder: Path,
    step: int,
    *,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    extra: Json | None = None,
    tensors: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> Iterator[None]:
    """Writes step `step`, complete or not at all, and drops all but the last two; it counts once the block ended well.

    Of a module only what trains is written (its frozen weights come from its own folder). `extra` is JSON (data
    position, best so far, controllers); `tensors` are named groups, such as a moving average of the weights.
    Of several processes, which hold the same, the first one writes.
    """
    target = folder / f"step-{step:08d}"
    weights = {name: trainable(module) for name, module in modules.items()}
    moments = {name: _optimizer_tensors(optimizer) for name, optimizer in optimizers.items()}
    if not is_main():
        yield
        return
    with written_beside(target) as partial:
        for name, group in weights.items():
            _write(partial / f"module-{name}.safetensors", group)
        for name, group in moments.items():
            _write(partial / f"optimizer-{name}.safetensors", group)
        for name, group in (tensors or {}).items():
            _write(partial / f"tensors-{name}.safetensors", group)
        _write(partial / "random.safetensors", _random_tensors())
        state = {"step": step, "extra": extra or {}, "python_random": _python_random(), "numpy_random": _numpy_random()}
        (partial / "state.json").write_text(json.dumps(state))
        yield
    for old in complete_checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old)


def load_newest(
    folder: Path, *, modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> Checkpoint | None:
    """Restores modules, optimizers and every random state in place from the newest readable checkpoint, if any."""
    for path in reversed(complete_checkpoints(folder)):
        try:
            files = {file.stem: load_file(file) for file in sorted(path.glob("*.safetensors"))}
            state = json.loads((path / "state.json").read_text())
        except (OSError, SafetensorError, json.JSONDecodeError):
            continue  # torn by a disk that lost what it had confirmed: the one before it is as good
        for name, module in modules.items():
            restore_module(module, files[f"module-{name}"])
        for name, optimizer in optimizers.items():
            _restore_optimizer(optimizer, files[f"optimizer-{name}"])
        _restore_random(files["random"], state)
        groups = {key.removeprefix("tensors-"): group for key, group in files.items() if key.startswith("tensors-")}
        return Checkpoint(step=state["step"], extra=state["extra"], tensors=groups)
    return None


def fingerprint(config: BaseModel, rows: Sequence[object]) -> str:
    """What a run is made of, in one word: its settings (not those that change no result) and its data."""
    settings = config.model_dump_json(
        exclude={"checkpoint_every", "threads", "processes", "sharded", "sampling_workers"}
    )
    return hashlib.sha256(f"{settings}{rows!r}".encode()).hexdigest()


def refuse_foreign(checkpoint: Checkpoint, belongs_to: str) -> None:
    """A run goes on from its own checkpoints only."""
    if checkpoint.extra.get("belongs_to") != belongs_to:
        raise CannotTrain(
            f"The checkpoint of step {checkpoint.step} was made with other settings or other data. "
            "Start a new run, or give this one an empty folder for its checkpoints."
        )


def complete_checkpoints(folder: Path) -> list[Path]:
    """The checkpoint folders that were written to their end, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.suffix == "")


@contextmanager
def written_beside(target: Path) -> Iterator[Path]:
    """A folder that becomes `target` only when the block ends well; a crash leaves what was there before."""
    partial = target.with_name(f"{target.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    yield partial
    for file in partial.rglob("*"):
        _fsync(file)
    _fsync(partial)
    if target.exists():
        shutil.rmtree(target)
    partial.rename(target)
    _fsync(target.parent)


def trainable(module: nn.Module) -> dict[str, Tensor]:
    """The parameters that train, by name, whole; tied ones once."""
    return {name: whole(p.detach()) for name, p in module.named_parameters() if p.requires_grad}


def restore_module(module: nn.Module, saved: Mapping[str, Tensor]) -> None:
    parameters = dict(module.named_parameters())
    expected = {name for name, p in parameters.items() if p.requires_grad}
    if expected != set(saved):
        raise ValueError(f"The checkpoint is of another model: it differs in {sorted(expected ^ set(saved))[:3]}")
    with torch.no_grad():
        for name, tensor in saved.items():
            parameters[name].copy_(placed_as(tensor, parameters[name]))


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's state by parameter number, and each group's learning rate."""
    state = optimizer.state_dict()
    flat = {f"{i}.{key}": whole(value) for i, values in state["state"].items() for key, value in values.items()}
    for number, group in enumerate(state["param_groups"]):
        flat[f"lr.{number}"] = torch.tensor(float(group["lr"]), dtype=torch.float64)
    return flat


def _restore_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Tensor]) -> None:
    state = optimizer.state_dict()
    rows: dict[int, dict[str, Tensor]] = {}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for name, tensor in saved.items():
        first, _, key = name.partition(".")
        if first == "lr":
            state["param_groups"][int(key)]["lr"] = float(tensor)
        else:
            rows.setdefault(int(first), {})[key] = placed_as(tensor.clone(), parameters[int(first)])
    optimizer.load_state_dict({"state": rows, "param_groups": state["param_groups"]})


def _random_tensors() -> dict[str, Tensor]:
    states = {"torch": torch.get_rng_state()}
    for number in range(torch.cuda.device_count()):
        states[f"cuda.{number}"] = torch.cuda.get_rng_state(number)
    return states


def _python_random() -> Json:
    version, internal, gauss = random.getstate()
    return {"version": version, "internal": list(internal), "gauss": gauss}


def _numpy_random() -> Json:
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {"name": name, "keys": keys.tolist(), "position": position, "has_gauss": has_gauss, "cached": cached}


def _restore_random(saved: Mapping[str, Tensor], state: Json) -> None:
    torch.set_rng_state(saved["torch"])
    for number in range(torch.cuda.device_count()):
        if f"cuda.{number}" in saved:
            torch.cuda.set_rng_state(saved[f"cuda.{number}"], number)
    python, numpy = state["python_random"], state["numpy_random"]
    random.setstate((python["version"], tuple(python["internal"]), python["gauss"]))
    keys = np.array(numpy["keys"], dtype=np.uint32)
    np.random.set_state((numpy["name"], keys, numpy["position"], numpy["has_gauss"], numpy["cached"]))


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    save_file({name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}, path)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
