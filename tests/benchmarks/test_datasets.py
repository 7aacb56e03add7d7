"""The entry to what datasets cost runs each of its parts."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.datasets import PARTS

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.datasets", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.prove
def test_a_few_comparisons_go_out() -> None:
    said = run("exports", "--pairs", "30", "--completions", "3", "--forms", "preference")
    assert said.returncode == 0, said.stderr
    assert "| preference | jsonl | 3 | 30 |" in said.stdout


@pytest.mark.prove
def test_a_few_prompts_come_in() -> None:
    said = run("imports", "--rows", "30")
    assert said.returncode == 0, said.stderr
    assert "30 rows, 0 MiB, steps: none: done" in said.stdout


@pytest.mark.parametrize("part", PARTS)
def test_each_part_tells_its_options(part: str) -> None:
    said = run(part, "--help")
    assert (said.returncode, said.stdout.startswith(f"usage: python -m benchmarks.datasets {part} ")) == (0, True)


def test_another_part_is_refused() -> None:
    assert "invalid choice: 'nothing'" in run("nothing").stderr
