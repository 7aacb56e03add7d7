"""Activation checkpointing: the same gradients with less kept, and nothing else changed."""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import GPT2Config

from app.runs.configs import RewardModelConfig, SftConfig
from tests.workers.tiny import demonstrations, rankings, save_base
from workers.training import reward_model, sft
from workers.training.dropout import add_residual_dropout
from workers.training.loop import CannotTrain, Signal
from workers.training.models import load_policy
from workers.training.recomputing import recomputing
from workers.training.rollout import Decoding, draw_completions

pytestmark = pytest.mark.train

IDS = torch.randint(2, 300, (4, 24), generator=torch.Generator().manual_seed(0))


def gradient(model: nn.Module, *, wanted: bool) -> tuple[list[torch.Tensor], int]:
    """The gradient of a loss, and how many numbers were kept for it."""
    kept = 0

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    model.zero_grad()
    torch.manual_seed(3)
    with recomputing(model, wanted=wanted), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(IDS).logits.square().mean()
        loss.backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None], kept


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("trains", [False, True])
def test_gradients_are_the_same_bit_for_bit_with_far_less_kept(
    base: Path, tmp_path: Path, architecture: str, trains: bool
) -> None:
    gpt2 = GPT2Config(vocab_size=320, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    model = load_policy(base if architecture == "llama" else save_base(tmp_path / "gpt2", gpt2))
    add_residual_dropout(model, 0.2)
    model.train(trains)
    plain, kept = gradient(model, wanted=False)
    again, kept_less = gradient(model, wanted=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(again, plain, strict=True))
    assert kept_less < kept / 2
    assert all(module.training == trains for module in model.modules())


def test_completions_are_drawn_as_ever_after_it(base: Path) -> None:
    model = load_policy(base)
    decoding = Decoding(max_new_tokens=8, eos_ids=frozenset())
    uniforms = torch.rand(1, 2, 8, generator=torch.Generator().manual_seed(1))
    before = draw_completions(model, [[5, 6, 7]], uniforms, decoding=decoding)
    gradient(model, wanted=True)
    assert draw_completions(model, [[5, 6, 7]], uniforms, decoding=decoding) == before


def test_what_has_no_layers_is_refused_in_words() -> None:
    with (
        pytest.raises(CannotTrain, match="Turn activation_checkpointing off"),
        recomputing(nn.Linear(1, 1), wanted=True),
    ):
        pass


SHAPE = {"max_prompt_tokens": 40, "max_completion_tokens": 60, "batch_size": 4, "micro_batch_size": 2, "threads": 1}


@pytest.mark.parametrize("kind", ["sft", "reward_model"])
def test_a_run_learns_the_same_with_it(base: Path, tmp_path: Path, kind: str) -> None:
    losses = []
    for again in (False, True):
        seen = []

        def on_step(step, seen=seen) -> Signal:
            seen.append(step.metrics["loss"])
            return Signal.CONTINUE

        places = {"base": base, "out": tmp_path / f"{again}", "checkpoints": tmp_path / f"{again}-checkpoints"}
        shape = SHAPE | {"activation_checkpointing": again, "epochs": 2}
        if kind == "sft":
            sft.train(SftConfig(dropout=0.1, **shape), demonstrations(9, valid=2), on_step, **places)
        else:
            reward_model.train(RewardModelConfig(**shape), rankings(9, valid=2), on_step, **places)
        losses.append(seen)
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert len(losses[0]) > 2
