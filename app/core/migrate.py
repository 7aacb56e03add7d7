"""Alembic from within: the configuration stands in pyproject.toml, the scripts in migrations/."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

ROOT = Path(__file__).parent.parent.parent


def alembic_config(engine: Engine | None = None) -> Config:
    config = Config(toml_file=str(ROOT / "pyproject.toml"))
    config.set_main_option("script_location", str(ROOT / "migrations"))
    if engine is not None:
        config.attributes["engine"] = engine
    return config


def migrate_database(engine: Engine | None = None) -> str:
    """Upgrade to the newest revision and return it. Running it again changes nothing."""
    config = alembic_config(engine)
    command.upgrade(config, "head")
    return newest_revision(config)


def newest_revision(config: Config | None = None) -> str:
    return ScriptDirectory.from_config(config or alembic_config()).get_current_head() or "nothing"


def current_revision(engine: Engine) -> str | None:
    """The revision the database is at; none when it has never been migrated."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()
