"""docs/operations.md: every command in it does what it says, and every setting that it names exists."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from fastapi.testclient import TestClient
from sqlalchemy import select
from typer.testing import CliRunner

from app.accounts.models import Person, Role, SecondFactor
from app.cli import app
from app.core import config
from app.core.clock import now
from app.core.config import Settings
from app.core.db import reading, writing
from app.labeling.models import Batch
from tests.app.labeling.rows import make_ranking_batch
from tests.conftest import forget_settings
from tests.factories import make_person, make_project

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
COMMANDS = [line.strip() for line in re.findall(r"^ {4}\S.*$", PAGE, re.MULTILINE)]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
RUN_HERE = (
    *(f"touchstone {each}" for each in ("backup", "restore", "migrate", "rotate-key", "doctor")),
    *("touchstone user reset-second-factor", "curl http", "docker compose", 'pip install "touchstone['),
)
NOT_OURS = {"tensorboard --logdir /srv/touchstone/board"}


def _starting(start: str) -> list[str]:
    found = [each for each in COMMANDS if each.startswith(start)]
    assert found, f"the page has no command that begins with {start!r}"
    return found


@pytest.fixture
def at_home(installation: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """An installation with labels and an admin called admin@localhost; called with a command of the page, runs it and
    gives what it printed. `/srv` is a passing folder."""
    with writing() as session:
        admin = make_person(session, role=Role.admin)
        session.get_one(Person, admin.id).email = "admin@localhost"
        project = make_project(session)
        make_ranking_batch(session, project, items=3, completions=4, name="Round 1")

    def run(command: str) -> str:
        words = command.replace("/srv", str(tmp_path)).split()
        assert words[0] == "touchstone"
        done = CliRunner().invoke(app, words[1:])
        assert done.exit_code == 0, f"{command}: {done.output}"
        return done.output

    return run


def test_a_backup_is_made_and_comes_back_into_an_empty_installation(
    at_home: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in _starting("touchstone backup"):
        assert "whole and can be restored" in at_home(command)
    monkeypatch.setenv("TOUCHSTONE_STATE_DIR", str(tmp_path / "empty"))
    monkeypatch.delenv("TOUCHSTONE_DATABASE_URL", raising=False)
    forget_settings()
    (restore,) = _starting("touchstone restore")
    at_home(restore)
    assert config.get_settings().database.endswith("empty/touchstone.db")
    with reading() as session:
        assert session.scalars(select(Batch.name)).all() == ["Round 1"]


def test_an_upgrade_a_new_key_and_a_look_at_the_machine(at_home: Callable[[str], str]) -> None:
    for command in _starting("touchstone migrate"):
        assert "The database is at" in at_home(command)
    for command in _starting("touchstone rotate-key"):
        at_home(command)
    for command in _starting("touchstone doctor"):
        assert "Database" in CliRunner().invoke(app, command.split()[1:]).output


def test_a_locked_out_admin_gets_in(at_home: Callable[[str], str]) -> None:
    with writing() as session:
        admin = session.scalars(select(Person).where(Person.email == "admin@localhost")).one()
        session.add(SecondFactor(person_id=admin.id, sealed_secret="of a phone that is gone", confirmed_at=now()))
    for command in _starting("touchstone user reset-second-factor"):
        assert "has no second factor any more" in at_home(command)
    assert "`touchstone user link admin@localhost`" in PAGE
    assert "/welcome/" in at_home("touchstone user link admin@localhost")


def test_a_probe_is_answered(client: TestClient) -> None:
    for command in _starting("curl"):
        assert client.get(command.partition("http://127.0.0.1:8000")[2]).status_code == 200


def test_containers_are_those_of_the_file() -> None:
    for command in _starting("docker compose"):
        words = command.split()
        profiles = {words[at + 1] for at, word in enumerate(words) if word == "--profile"}
        assert profiles <= {each for of in COMPOSE["services"].values() for each in of.get("profiles", ())}
        if "run" in words:
            assert words[words.index("--rm") + 1] in COMPOSE["services"]
            inner = words[words.index("touchstone") + 1 :]
            assert CliRunner().invoke(app, [*inner[:2], "--help"]).exit_code == 0
            assert all(
                word in CliRunner().invoke(app, [*inner[:2], "--help"]).output for word in inner if word[0] == "-"
            )


def test_every_setting_and_extra_exists() -> None:
    settings = {f"TOUCHSTONE_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"\bTOUCHSTONE_[A-Z_]*[A-Z]", PAGE)) <= settings
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(re.findall(r"touchstone\[(\w+)\]", PAGE)) <= extras.keys()


def test_no_command_is_forgotten_here() -> None:
    programs = re.compile(r"(touchstone|curl|docker|pip|make|jq|tensorboard|systemctl|python|psql|redis-cli) ")
    for command in COMMANDS:
        assert not programs.match(command) or command.startswith(RUN_HERE) or command in NOT_OURS, command
