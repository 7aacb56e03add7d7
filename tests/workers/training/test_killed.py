"""A run that is killed again and again ends bit for bit as one that never was."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workers.training.killed import MOMENTS, train
from workers.training.loop import Signal

pytestmark = pytest.mark.train

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize("kind", ["sft", "reward_model"])
def test_30_killed_at_any_moment_equals_never_killed(base: Path, tmp_path: Path, kind: str) -> None:
    train(kind, base, tmp_path / "whole", lambda step: Signal.CONTINUE)
    command = [sys.executable, "-m", "tests.workers.training.killed", kind, base, tmp_path / "killed"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    ends = [int(line.split()[-1]) for line in done.stdout.splitlines()]
    assert ends == [-signal.SIGKILL] * len(MOMENTS) + [0], done.stdout + done.stderr

    whole, killed = (_files(tmp_path / name) for name in ("whole", "killed"))
    assert whole.keys() == killed.keys()
    assert [name for name in whole if whole[name] != killed[name]] == []


def _files(folder: Path) -> dict[str, bytes]:
    """Everything a run leaves: the model, and checkpoints with Adam, random states and the best epoch."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
