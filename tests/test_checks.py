"""The 31 checks of the trainers: each is proven by tests that carry its number, `test_07_...`, and none may vanish."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

# What a test must catch, each bitten somebody in public; and how many tests prove it at least.
CHECKS: dict[int, tuple[str, int]] = {
    # Supervised fine-tuning
    1: ("loss on the completion and its end token only", 3),
    2: ("accumulation: 1 x 16 equals 16 x 1, to 1e-6", 2),
    3: ("packed equals padded, in loss and gradient", 1),
    # Reward model
    4: ("K-way equals pairwise in loss and gradient; each prompt weighs the same for K = 4 and K = 9", 2),
    5: ("ties are skipped; an all-tied prompt gives no NaN", 3),
    6: ("one prompt's pairs stand in one batch and one split", 3),
    7: ("the score is read at the last real token, whatever the padding's side, amount, or id", 3),
    8: ("the end token is there in training, evaluation and PPO alike", 5),
    9: ("head and bias reload bit for bit, also with LoRA and after merging", 1),
    10: ("the demonstrations' mean score is 0 after saving and loading", 1),
    11: ("a shared prompt scores as a plain one, for ragged completions", 3),
    # Rollouts
    12: ("sampling parameters are the run's own, at run time", 6),
    13: ("behaviour log-probabilities equal a teacher-forced recompute, to 1e-4", 1),
    14: ("padding and neighbours change nothing", 2),
    15: ("nothing after the end token counts", 2),
    16: ("dropout is off in policy, reference, value and reward", 3),
    17: ("before the first update: ratio 1, approx-KL 0, clip fraction 0, KL to the reference 0", 3),
    # Rewards
    18: ("the KL that is logged is the KL that is trained on; k3 is never negative", 5),
    19: ("the score is added exactly once, for length 1 and full length too", 2),
    20: ("the missing-end penalty goes by the configured stop ids", 3),
    21: ("whitening is over the global batch; rewards keep their mean", 5),
    22: ("GAE equals a slow reference; the terminal bootstrap is 0", 2),
    # Updates
    23: ("exactly epochs x minibatches optimizer steps under any accumulation", 5),
    24: ("clipped losses equal a scalar reference", 2),
    25: ("the value starts from the reward model; reference and reward weights never change", 3),
    26: ("the adaptive KL's arithmetic", 3),
    27: ("the ptx gradient is that of PPO + gamma x that of the text; gamma 0 is PPO exactly", 3),
    28: ("LoRA off is the reference bit for bit; the adapter stays trainable after switching", 1),
    29: ("NaN guard, KL stop, the moving average is what is saved", 8),
    # The whole
    30: ("killed at any step and resumed equals never killed, bit for bit on a CPU", 10),
    31: ("learns: 100 % of 50 rankings; PPO raises a known reward with bounded KL over 4 seeds", 3),
}


@cache
def numbered_tests() -> Counter[int]:
    """How many test functions carry each number; `test_15_and_20_...` carries two."""
    found: Counter[int] = Counter()
    for file in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef) and (name := re.match(r"test_(\d\d)(?:_and_(\d\d))?_", node.name)):
                found.update(int(number) for number in name.groups() if number)
    return found


def test_there_are_31_checks() -> None:
    assert list(CHECKS) == list(range(1, 32))
    assert set(numbered_tests()) <= set(CHECKS)


@pytest.mark.parametrize("number", CHECKS)
def test_every_check_keeps_its_tests(number: int) -> None:
    words, least = CHECKS[number]
    found = numbered_tests()[number]
    assert found >= least, f"check {number} ({words}) had {least} tests named test_{number:02}_...; {found} are left"
