import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from app.accounts.models import Person
from app.cli import app
from app.core.db import reading, writing
from app.core.errors import Conflict, DomainError, Invalid
from app.datasets.models import Snapshot
from app.datasets.schemas import SnapshotFilter
from app.projects.models import Project
from tests.app.datasets.labels import make_ranking

runner = CliRunner()


@pytest.fixture
def rankings(project: Project, labeler: Person) -> None:
    with writing() as session:
        make_ranking(session, project, labeler, [1, 2, 3])


def test_export_writes_a_file_and_keeps_the_snapshot(project: Project, rankings: None, tmp_path: Path) -> None:
    out = tmp_path / "pairs.jsonl"
    answer = runner.invoke(app, ["export", "comparisons", str(out), "--project", project.slug], catch_exceptions=False)
    assert answer.exit_code == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 3
    assert {"prompt", "chosen", "rejected"} <= rows[0].keys()
    with reading() as session:
        assert session.scalars(select(Snapshot.sha256)).one()[:8] in answer.output
    assert [file.name for file in tmp_path.glob("*.part")] == []


@pytest.mark.parametrize("command", ["export", "push"])
def test_every_part_of_the_filter_is_an_option(command: str) -> None:
    """Those of the page and of scripts alike: there is one filter."""
    told = runner.invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
    options = {"include_simulated": "simulated", "use_adjudications": "adjudications"}
    for name in SnapshotFilter.model_fields:
        assert f"--{options.get(name, name).replace('_', '-')} " in told


def test_export_freezes_what_the_options_say(project: Project, rankings: None, tmp_path: Path) -> None:
    here = ["export", "comparisons", str(tmp_path / "some.jsonl"), "--project", project.slug]
    chosen = ["--splits", "train", "--splits", "valid", "--rounds", "1", "--since", "2026-01-31", "--no-simulated",
              "--groups", "training", "--no-adjudications", "--until", "2126-01-31T12:00:00+01:00"]  # fmt: skip
    assert runner.invoke(app, [*here, *chosen], catch_exceptions=False).exit_code == 0
    with reading() as session:
        assert session.scalars(select(Snapshot.filter)).one() == {
            "splits": ["train", "valid"], "rounds": [1], "groups": ["training"], "include_simulated": False,
            "since": "2026-01-31T00:00:00Z", "until": "2126-01-31T12:00:00+01:00", "use_adjudications": False,
        }  # fmt: skip


def test_a_filter_that_cannot_be_is_refused_by_name(project: Project, tmp_path: Path) -> None:
    for options in (["--rounds", "one"], ["--since", "yesterday"], ["--min-agreement", "7"], ["--use-cases", "poems"]):
        command = [sys.executable, "-m", "app.cli", "export", "comparisons", str(tmp_path / "a.jsonl"), *options]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        assert answer.returncode == 1
        assert f"The filter can't be read. {options[0].strip('-').replace('-', '_')}" in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["comparisons", "out.xlsx"], Invalid, "none of .jsonl, .csv and .parquet"),
        (["comparisons", "there.jsonl"], Conflict, "is there already"),
        (["comparisons", "no/such/out.jsonl"], Invalid, "does not exist"),
        (["comparisons", "out.jsonl", "--form", "text"], Invalid, "have no form"),
        (["demonstrations", "out.jsonl"], Invalid, "no demonstrations like that"),
        (["comparisons", "out.jsonl", "--project", "nowhere"], DomainError, "no project"),
    ],
)
def test_a_wrong_wish_writes_nothing(
    project: Project,
    rankings: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    error: type[Exception],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.jsonl").write_text("mine")
    with pytest.raises(error, match=words):
        runner.invoke(app, ["export", *arguments], catch_exceptions=False)
    assert (tmp_path / "there.jsonl").read_text() == "mine"
    assert not (tmp_path / "out.jsonl").exists()


def test_a_web_process_that_froze_nothing_has_no_pyarrow() -> None:
    check = "import sys; from app.main import create_app; create_app(); sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
