"""SmolLM2-135M-Instruct once through the whole loop, with what each step took in time and memory."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.runs.models import Run
from tests.ports import free_port
from tests.system.installation import Installation
from tests.system.loop import Loop, first_admin

# A few steps of each: the proof is that a model of this size goes through, on two cores.
LORA = {"lora_rank": 8, "max_prompt_tokens": 128, "max_completion_tokens": 64}


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    with (
        Installation(tmp_path / "var", free_port(), TOUCHSTONE_STALE_AFTER_SECONDS="120") as here,
        closing(first_admin(here)) as admin,
    ):
        loop = Loop(here, admin)
        yield loop
        loop.engine.dispose()


def test_smollm2_goes_through_the_loop(loop: Loop) -> None:
    began = time.monotonic()
    print(loop.here.touchstone("models", "add", "smol", "smollm2", "--project", loop.slug))
    print(f"added in {time.monotonic() - began:.0f} s")
    smol = loop.model(name="smol")

    def step(kind: str, **changes: object) -> Run:
        common = {name: value for name, value in LORA.items() if kind != "sampling" or name != "lora_rank"}
        run = loop.run(kind, seconds=3000, **{**common, **changes})
        assert run.started_at is not None
        assert run.finished_at is not None
        took = (run.finished_at - run.started_at).total_seconds()
        print(
            f"| {kind} | {run.step} steps | {took:.0f} s | {peak_memory(loop):.1f} GiB | {figures(run)} |", flush=True
        )
        return run

    sft = loop.model_of(step("sft", part_base=smol.id, epochs=1, batch_size=8, max_completion_tokens=192))
    step("sampling", part_model=sft.id, prompts=16, completions_per_prompt=4)
    loop.simulate(16)
    reward = loop.model_of(step("reward_model", part_base=sft.id, batch_size=4, micro_batch_size=1))
    small = {"episodes": 24, "batch_size": 8, "minibatch_size": 8, "micro_batch_size": 4, "inner_epochs": 1,
             "evaluation_prompts": 4, "ptx_tokens": 64}  # fmt: skip
    policy = loop.model_of(step("ppo", part_policy=sft.id, part_reward_model=reward.id, **small))
    step("sampling", part_model=policy.id, prompts=4, completions_per_prompt=4)
    assert loop.model_of(loop.run_row(policy.run_id)).parameters == smol.parameters  # type: ignore[arg-type]


def peak_memory(loop: Loop) -> float:
    """The worker's largest resident size so far, in GiB, as Linux kept it."""
    status = Path(f"/proc/{loop.here.child('worker').pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def figures(run: Run) -> str:
    chosen = ("valid_loss", "accuracy", "reward", "kl", "text_loss", "length")
    return ", ".join(
        f"{name} {value:.3g}" for name, value in sorted(run.result.items()) if any(word in name for word in chosen)
    )[:200]
