"""Every trainer, killed by SIGKILL at each of its steps and in each checkpoint's writing, one run a moment."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.workers.training.killed import RUNS

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("name", RUNS)
def test_30_killed_by_sigkill_at_every_step_equals_never_killed(tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-m", "tests.workers.training.killed", name, tmp_path, "each"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    print(f"{name}\n{done.stdout}")
    ends = [line.split(") ")[1] for line in done.stdout.splitlines()]
    assert ends
    assert set(ends) == {"same"}
