"""The migrations make exactly the tables that the code declares, once, from any earlier state, and never back."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text

from app.core import migrate
from app.core.config import Settings
from app.core.db import make_engine, writing
from app.core.migrate import CannotMigrate, current_revision, migrate_database, newest_revision
from app.tables import metadata
from tests.app.labeling.rows import make_ranking_batch
from tests.factories import make_person, make_project

LATER = """
import sqlalchemy as sa
from alembic import op

revision = "later"
down_revision = "{before}"


def upgrade() -> None:
    with op.batch_alter_table("project") as table:
        table.alter_column("name", existing_type=sa.String(200), type_=sa.String(300))
        table.add_column(sa.Column("motto", sa.String(100), nullable=False, server_default="none yet"))
"""


def test_migrated_tables_equal_the_declared_ones(engine: Engine) -> None:
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_migrating_again_changes_nothing(engine: Engine) -> None:
    assert migrate_database(engine) == current_revision(engine) == newest_revision()


@pytest.fixture
def with_a_later_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The migrations as a next version has them: one more, which makes the table of projects anew."""
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    for file in ("env.py", "versions/0001_first_tables.py"):
        (folder / file).write_bytes((migrate.ROOT / "migrations" / file).read_bytes())
    (folder / "versions" / "later.py").write_text(LATER.format(before=newest_revision()))

    def config(engine: Engine | None = None) -> Config:
        made = Config()
        made.set_main_option("script_location", str(folder))
        if engine is not None:
            made.attributes["engine"] = engine
        return made

    monkeypatch.setattr(migrate, "alembic_config", config)
    return folder


def _counts(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        names = inspect(connection).get_table_names()
        return {name: connection.scalar(text(f'SELECT count(*) FROM "{name}"')) or 0 for name in names}


def _fill(engine: Engine) -> None:
    with writing(engine) as session:
        project = make_project(session)
        make_person(session, project=project)
        make_ranking_batch(session, project, items=3, completions=4, name="Round 1")


def test_a_table_that_is_made_anew_keeps_its_rows_and_all_that_refer_to_them(
    engine: Engine, request: pytest.FixtureRequest
) -> None:
    _fill(engine)
    before = _counts(engine)
    assert min(before[name] for name in ("project", "project_member", "batch", "item", "completion")) > 0
    request.getfixturevalue("with_a_later_one")
    assert migrate_database(engine) == "later"
    assert _counts(engine) == before
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT motto FROM project")) == "none yet"


def test_a_migration_that_fails_halfway_changes_nothing(engine: Engine, with_a_later_one: Path) -> None:
    file = with_a_later_one / "versions" / "later.py"
    file.write_text(f"{file.read_text()}\n    op.execute('DELETE FROM no_such_table')\n")
    before = _counts(engine)
    with pytest.raises(Exception, match="no_such_table"):
        migrate_database(engine)
    assert _counts(engine) == before
    assert current_revision(engine) != "later"
    assert "motto" not in {each["name"] for each in inspect(engine).get_columns("project")}


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database in which nothing was ever made."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    server: str = request.getfixturevalue("postgres_server")
    admin = create_engine(server.format("postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE empty"))
    admin.dispose()
    return server.format("empty")


def test_two_processes_at_once_migrate_once(empty_url: str, tmp_path: Path) -> None:
    environment = {**os.environ, "TOUCHSTONE_DATABASE_URL": empty_url, "TOUCHSTONE_STATE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "app.cli", "migrate"]
    started = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [each.communicate(timeout=60)[0] for each in started] == [f"The database is at {newest_revision()}.\n"] * 2


def test_rows_that_would_refer_to_nothing_are_found(sqlite_url: str, with_a_later_one: Path) -> None:
    engine = make_engine(sqlite_url)
    _fill(engine)
    file = with_a_later_one / "versions" / "later.py"
    file.write_text(f"{file.read_text()}\n    op.execute('DELETE FROM project')\n")
    with pytest.raises(CannotMigrate, match="nothing was changed"):
        migrate_database(engine)
    assert _counts(engine)["project"] == 1
    with pytest.raises(Exception, match="FOREIGN KEY"), engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM project")
    engine.dispose()


def test_a_database_of_a_newer_version_is_refused_in_words(installation: Settings) -> None:
    engine = make_engine(installation.database)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'f00d'"))
    with pytest.raises(CannotMigrate, match="at revision f00d, which a newer version of Touchstone made"):
        migrate_database(engine)
    assert current_revision(engine) == "f00d"
    engine.dispose()


def test_there_is_no_way_back(engine: Engine) -> None:
    with pytest.raises(RuntimeError, match="restore a backup instead"):
        command.downgrade(migrate.alembic_config(engine), "base")
    assert current_revision(engine) == newest_revision()
