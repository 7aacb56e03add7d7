"""A run that is killed again and again, or at any one step, ends bit for bit as one that never was: every trainer."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.runs.configs import RunKind
from tests.workers.training.killed import RUNS, left_behind, moments_of, write_models
from workers.training.loop import Signal, Step

pytestmark = pytest.mark.train

REPOSITORY = Path(__file__).parents[3]
TRAIN_NOTHING = (RunKind.evaluation, RunKind.reward_evaluation, RunKind.prefix_contest)
KINDS = [kind.value.replace("_", "-") for kind in RunKind if kind not in TRAIN_NOTHING]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("all") / "models")


def test_30_every_kind_of_run_is_killed_here() -> None:
    assert set(KINDS) <= set(RUNS)


# Each of the runs at each of its steps, by SIGKILL: `make prove`.
@pytest.mark.prove
@pytest.mark.parametrize("name", ["sft", "reward-model", "ppo", "dpo"])
def test_30_killed_at_any_moment_equals_never_killed(models: Path, name: str) -> None:
    RUNS[name](models, models.parent / f"{name}-whole", lambda step: Signal.CONTINUE)
    command = [sys.executable, "-m", "tests.workers.training.killed", name, models.parent / f"{name}-killed"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    ends = [int(line.split()[-1]) for line in done.stdout.splitlines()]
    assert ends == [-signal.SIGKILL] * len(moments_of(name)) + [0], done.stdout + done.stderr
    assert_same(models.parent / f"{name}-killed", models.parent / f"{name}-whole")


class Died(BaseException):
    """Ends a run on the spot, with nothing of it saved after its last checkpoint."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.prove) if name == "rloo" else name for name in KINDS]
)  # RLOO goes on as PPO does, and takes twice as long
def test_30_dead_at_or_after_a_checkpoint_equals_never_dead(models: Path, tmp_path: Path, name: str) -> None:
    steps: list[int] = []
    RUNS[name](models, tmp_path / "whole", lambda step: go_on(step, steps))
    assert len(steps) >= 6
    for last in (steps[1], steps[2]):  # a checkpoint is written at every second; each step: `make prove`
        heard: list[int] = []

        def die(step: Step, last: int = last, heard: list[int] = heard) -> Signal:
            if step.number == last:
                raise Died
            return go_on(step, heard)

        with pytest.raises(Died):
            RUNS[name](models, tmp_path / f"dead-{last}", die)
        RUNS[name](models, tmp_path / f"dead-{last}", lambda step, heard=heard: go_on(step, heard))
        assert_same(tmp_path / f"dead-{last}", tmp_path / "whole")
        assert set(heard) == set(steps), "a step whose report the death cut short was never told again"


def go_on(step: Step, told: list[int]) -> Signal:
    told.append(step.number)
    return Signal.CONTINUE


def assert_same(ours: Path, theirs: Path) -> None:
    left, right = left_behind(ours), left_behind(theirs)
    assert left.keys() == right.keys()
    assert [name for name in left if left[name] != right[name]] == []
