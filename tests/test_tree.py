"""The house's rules that no other tool holds: names, sizes, what is pinned, and what is never committed."""

import ast
import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import vendor
from app.runs import hyperparameters

ROOT = Path(__file__).parents[1]
CODE = [file for folder in ("app", "workers", "migrations") for file in sorted((ROOT / folder).rglob("*.py"))]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
WORDLESS = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "base", "misc"}
LONGEST_FILE, LONGEST_FUNCTION = 300, 60
# A trainer reads from top to bottom, as nanochat's scripts do: cutting it up would hide the order of its steps.
LONGEST_TRAINING_FILE, LONGEST_TRAINING_FUNCTION = 400, 100
LARGEST_FILE = 12 * 2**20


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def committed() -> list[Path]:
    """The files under version control; outside a clone there is nothing to ask."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_files_are_named_for_what_they_hold() -> None:
    assert [name_of(file) for file in CODE + TESTS if file.stem in WORDLESS] == []


def test_packages_are_empty_and_modules_say_what_they_are_for() -> None:
    inits = [name_of(file) for file in CODE if file.name == "__init__.py" and file.read_text().strip()]
    silent = [
        name_of(file)
        for file in CODE
        if file.name != "__init__.py" and not ast.get_docstring(ast.parse(file.read_text()))
    ]
    assert (inits, silent) == ([], [])


def is_training(file: Path) -> bool:
    return file.is_relative_to(ROOT / "workers" / "training")


def is_migration(file: Path) -> bool:
    """A migration is a list of tables, written once."""
    return file.is_relative_to(ROOT / "migrations" / "versions")


def test_files_stay_short() -> None:
    counted = {file: len(file.read_text().splitlines()) for file in CODE if not is_migration(file)}
    most = {file: LONGEST_TRAINING_FILE if is_training(file) else LONGEST_FILE for file in counted}
    assert {name_of(file): lines for file, lines in counted.items() if lines > most[file]} == {}


def test_functions_stay_short() -> None:
    too_long = {}
    for file in CODE:
        most = LONGEST_TRAINING_FUNCTION if is_training(file) else LONGEST_FUNCTION
        for function in functions(file):
            lines = (function.end_lineno or 0) - function.lineno + 1
            if lines > most and not is_migration(file):
                too_long[f"{name_of(file)}:{function.name}"] = lines
    assert too_long == {}


def test_nothing_is_left_to_be_done() -> None:
    unfinished = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b")
    left = [
        f"{name_of(file)}:{number}"
        for file in CODE + [test for test in TESTS if test != Path(__file__)]
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if unfinished.search(line)
    ]
    assert left == []


def test_tests_lie_where_their_code_does() -> None:
    """tests/app/<room>/ and tests/workers/<part>/ name folders that exist."""
    folders = {file.parent.relative_to(ROOT / "tests") for file in TESTS if file.name.startswith("test_")}
    mirrored = [folder for folder in folders if folder.parts[:1] in {("app",), ("workers",)}]
    assert [str(folder) for folder in mirrored if not (ROOT / folder).is_dir()] == []


def test_the_tables_of_hyperparameters_are_those_of_the_code() -> None:
    assert hyperparameters.FILE.read_text() == hyperparameters.as_markdown(), (
        "docs/hyperparameters.md is of other settings: python -m app.runs.hyperparameters writes it anew"
    )


def test_nothing_third_party_or_large_is_committed() -> None:
    files = committed()
    foreign = [name_of(file) for file in files if {"vendor", "node_modules"} & set(file.relative_to(ROOT).parts[:-1])]
    large = [name_of(file) for file in files if file.stat().st_size > LARGEST_FILE]
    assert (foreign, large) == ([], [])


def test_front_end_libraries_are_pinned_and_name_no_host() -> None:
    package_json = json.loads((ROOT / "package.json").read_text())
    wanted = package_json["dependencies"] | package_json["devDependencies"]
    lock = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    packages = {name.removeprefix("node_modules/"): package for name, package in lock.items() if name}
    assert {name: package["version"] for name, package in packages.items()} == wanted
    assert all("resolved" not in package and package["integrity"] for package in packages.values())
    assert set(vendor.FILES) == set(package_json["dependencies"])
    assert set(vendor.TEST_FILES) == set(package_json["devDependencies"])


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in lines), "exact pins, nothing else"
    return {plain(name): version for name, version in (line.split("==") for line in lines)}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    names = {plain(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]) for line in wanted}
    assert names - set(pins()) == set()
    assert "+" not in pins()["torch"], "a local build cannot be had elsewhere"


def test_extras_keep_the_trainers_away_from_the_web() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in project["dependencies"]}
    assert names & {"torch", "transformers", "accelerate", "peft", "safetensors", "datasets", "gguf"} == set()
