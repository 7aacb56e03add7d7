"""`kill -9` in the middle of a run: it ends as if nothing had happened."""

import time

import pytest

from app.runs.models import RunState
from tests.system.world import KILLED_AT, World

pytestmark = pytest.mark.train

KINDS = ("sft", "sampling", "reward_model", "ppo")
VICTIMS = ("worker", "web", "redis", "scheduler")
ORDINARY = {("sft", "worker"), ("sampling", "redis"), ("reward_model", "web"), ("ppo", "worker")}
EVERYTHING = [
    pytest.param(kind, victim, marks=() if (kind, victim) in ORDINARY else pytest.mark.prove, id=f"{kind}-{victim}")
    for kind in KINDS
    for victim in VICTIMS
]


@pytest.mark.parametrize(("kind", "victim"), EVERYTHING)
def test_a_run_ends_as_if_nothing_had_happened(world: World, kind: str, victim: str) -> None:
    expected = world.left_by(world.undisturbed(kind).id)
    assert (expected.models, expected.batches) == ((0, 1) if kind == "sampling" else (1, 0))
    assert expected.weights or len(expected.completions) == 96
    run_id = world.start(kind)
    before = world.loop.wait_for_step(run_id, KILLED_AT[kind])
    world.here.kill(victim)
    began = time.monotonic()
    at_kill = world.loop.run_row(run_id)
    assert at_kill.state == RunState.running, "the kill came too late to prove anything"
    if victim == "worker":
        world.loop.wait_for_step(run_id, at_kill.step + 1)
        print(
            f"\n{kind} is past step {at_kill.step} again {time.monotonic() - began:.1f} s after its worker was killed"
        )
    ended = world.loop.wait(run_id, seconds=120)
    assert world.left_by(run_id) == expected
    assert ended.total_steps == before.total_steps
