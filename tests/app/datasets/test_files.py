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
