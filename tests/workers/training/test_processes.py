"""Two processes that torchrun starts train what one process trains: same losses, same figures, same weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.workers.training import together
from tests.workers.training.killed import write_models

pytestmark = pytest.mark.train

REPOSITORY = Path(__file__).parents[3]
CLOSE = 1e-5
RESUMED = ("sft", "reward-model", "ppo", "sft-sharded", "reward-model-sharded")
QUICK = ("sft-sharded", "reward-model", "ppo", "dpo")  # what `make test` trains: each way of sharing the work once
OF_TIME = ("per_second",)  # figures that tell how fast the machine was


def torchrun(models: Path, folder: Path, *names: str, processes: int = 2) -> None:
    """The runs in this many processes, one run after the other."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += ["-m", "tests.workers.training.together", str(models), str(folder), *names]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("all") / "models")


@pytest.fixture(scope="module")
def names(request: pytest.FixtureRequest) -> list[str]:
    """The runs that the chosen tests ask for."""
    asked = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    return [name for name in together.RUNS if name in asked]


@pytest.fixture(scope="module")
def alone(models: Path, names: list[str]) -> Path:
    """Each run in one process."""
    folder = models.parent / "alone"
    folder.mkdir()
    for name in names:
        together.run(name, models, folder)
    return folder


@pytest.fixture(scope="module")
def by_two(models: Path, names: list[str]) -> Path:
    """Each run in two processes."""
    torchrun(models, models.parent / "two", *names)
    return models.parent / "two"


def steps(folder: Path, name: str) -> list[dict[str, float]]:
    found = json.loads((folder / f"{name}-steps.json").read_text())
    if name == "dpo":  # before the first step every log-ratio is 0, and rounding decides who is ahead
        found[0].pop("accuracy")
    return [{k: v for k, v in step.items() if not k.endswith(OF_TIME)} for step in found]


def assert_same(ours: Path, theirs: Path, name: str) -> None:
    assert len(steps(ours, name)) == len(steps(theirs, name)) > 0
    for left, right in zip(steps(ours, name), steps(theirs, name), strict=True):
        assert left == pytest.approx(right, abs=CLOSE, rel=CLOSE)
    assert_close(ours, theirs, name)


def assert_close(ours: Path, theirs: Path, name: str) -> None:
    left, right = (load_file(folder / name / "out" / "model.safetensors") for folder in (ours, theirs))
    assert left.keys() == right.keys()
    differences = {key: float((left[key] - right[key]).abs().max()) for key in left}
    assert {key: value for key, value in differences.items() if value > CLOSE} == {}


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.prove) for name in together.RUNS]
)
def test_two_processes_train_what_one_trains(alone: Path, by_two: Path, name: str) -> None:
    assert_same(by_two, alone, name)


@pytest.fixture(scope="module")
def by_turns(models: Path) -> Path:
    """A step in two processes, one in a single one, and the rest in two again."""
    folder = models.parent / "turns"
    torchrun(models, folder, *(f"{name}@1" for name in RESUMED))
    for name in RESUMED:
        together.run(name, models, folder, until=2)
    torchrun(models, folder, *RESUMED)
    return folder


@pytest.mark.prove
@pytest.mark.parametrize("name", RESUMED)
def test_a_run_goes_on_in_another_number_of_processes(alone: Path, by_turns: Path, name: str) -> None:
    assert [step["step"] for step in steps(by_turns, name)] == [step["step"] for step in steps(alone, name)][2:]
    assert_close(by_turns, alone, name)
