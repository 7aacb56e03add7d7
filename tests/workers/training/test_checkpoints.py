"""Checkpoints: complete or absent, the last two kept, everything restored."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from app.runs.configs import SftConfig
from workers.training.checkpoints import (
    Checkpoint,
    complete_checkpoints,
    fingerprint,
    load_newest,
    refuse_foreign,
    saving_checkpoint,
    written_beside,
)
from workers.training.loop import CannotTrain

pytestmark = pytest.mark.train


def made(seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1))
    return model, torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(torch.randn(3, 4)).square().sum().backward()
    optimizer.step()


def save(folder: Path, number: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> Path:
    with saving_checkpoint(folder, number, modules={"m": model}, optimizers={"o": optimizer}, extra={"at": number}):
        pass
    return complete_checkpoints(folder)[-1]


def load(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Checkpoint | None:
    return load_newest(folder, modules={"m": model}, optimizers={"o": optimizer})


def test_30_weights_adam_rate_and_every_random_state_come_back(tmp_path: Path) -> None:
    model, optimizer = made(0)
    random.seed(5)
    np.random.seed(5)
    for _ in range(3):
        step(model, optimizer)
    optimizer.param_groups[0]["lr"] = 1 / 3
    save(tmp_path, 3, model, optimizer)
    drawn = (torch.rand(2).tolist(), random.random(), random.gauss(0, 1), float(np.random.rand()))
    step(model, optimizer)

    again, optimizer_again = made(99)
    checkpoint = load(tmp_path, again, optimizer_again)
    assert checkpoint is not None
    assert (checkpoint.step, checkpoint.extra) == (3, {"at": 3})
    assert optimizer_again.param_groups[0]["lr"] == 1 / 3
    assert (torch.rand(2).tolist(), random.random(), random.gauss(0, 1), float(np.random.rand())) == drawn
    step(again, optimizer_again)
    for mine, theirs in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_named_groups_of_tensors_come_back(tmp_path: Path) -> None:
    model, optimizer = made(0)
    ema = {"0.weight": torch.randn(3, dtype=torch.float64)}
    with saving_checkpoint(tmp_path, 1, modules={"m": model}, optimizers={"o": optimizer}, tensors={"ema": ema}):
        pass
    checkpoint = load(tmp_path, model, optimizer)
    assert checkpoint is not None
    assert torch.equal(checkpoint.tensors["ema"]["0.weight"], ema["0.weight"])


def test_only_the_last_two_are_kept(tmp_path: Path) -> None:
    model, optimizer = made(0)
    for number in (9, 10, 11, 100):
        save(tmp_path, number, model, optimizer)
    assert [path.name for path in complete_checkpoints(tmp_path)] == ["step-00000011", "step-00000100"]


def test_an_unfinished_one_does_not_count(tmp_path: Path) -> None:
    model, optimizer = made(0)
    save(tmp_path, 1, model, optimizer)
    (tmp_path / "step-00000002.partial").mkdir()
    checkpoint = load(tmp_path, model, optimizer)
    assert checkpoint is not None
    assert checkpoint.step == 1
    save(tmp_path, 2, model, optimizer)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000001", "step-00000002"]


def test_a_torn_one_falls_back_to_the_one_before(tmp_path: Path) -> None:
    model, optimizer = made(0)
    save(tmp_path, 1, model, optimizer)
    newest = save(tmp_path, 2, model, optimizer)
    file = newest / "module-m.safetensors"
    file.write_bytes(file.read_bytes()[:40])
    checkpoint = load(tmp_path, model, optimizer)
    assert checkpoint is not None
    assert checkpoint.step == 1


def test_none_is_none(tmp_path: Path) -> None:
    assert load(tmp_path / "nowhere", *made(0)) is None


def test_frozen_weights_are_not_written(tmp_path: Path) -> None:
    model, _ = made(0)
    model[0].requires_grad_(False)
    optimizer = torch.optim.AdamW(model[1].parameters())
    save(tmp_path, 1, model, optimizer)
    other, _ = made(1)
    other[0].requires_grad_(False)
    kept = other[0].weight.clone()
    load(tmp_path, other, torch.optim.AdamW(other[1].parameters()))
    assert torch.equal(other[0].weight, kept)
    assert torch.equal(other[1].weight, model[1].weight)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    model, optimizer = made(0)
    save(tmp_path, 1, model, optimizer)
    model[0].requires_grad_(False)
    with pytest.raises(ValueError, match="another model"):
        load(tmp_path, model, optimizer)


def test_what_was_there_stays_when_writing_fails(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model").write_text("old")
    with pytest.raises(OSError, match="disk full"), written_beside(tmp_path / "out") as partial:
        (partial / "model").write_text("new")
        raise OSError("disk full")
    assert (tmp_path / "out" / "model").read_text() == "old"


def test_a_run_goes_on_from_its_own_checkpoints_only() -> None:
    mine = fingerprint(SftConfig(), ["a", "b"])
    assert mine == fingerprint(SftConfig(threads=2, checkpoint_every=7), ["a", "b"])  # change no result
    refuse_foreign(Checkpoint(3, {"belongs_to": mine}), mine)
    for other in (fingerprint(SftConfig(seed=2), ["a", "b"]), fingerprint(SftConfig(), ["a"])):
        with pytest.raises(CannotTrain, match="step 3 was made with other settings or other data"):
            refuse_foreign(Checkpoint(3, {"belongs_to": mine}), other)
