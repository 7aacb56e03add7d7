"""SECURITY.md names the tests that show what it says: each of them is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_test_that_is_named_exists() -> None:
    named = NAMED.findall((ROOT / "SECURITY.md").read_text())
    there = {
        (file, node.name)
        for file in {file for file, _ in named}
        for node in ast.walk(ast.parse((ROOT / file).read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    assert [f"{file}::{name}" for file, name in named if (file, name) not in there] == []
    assert len(named) > 50


def test_every_row_of_what_is_defended_names_a_test() -> None:
    table = (ROOT / "SECURITY.md").read_text().split("## What is defended")[1].split("## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| Hole")]
    assert [line for line in rows if not NAMED.search(line)] == []
