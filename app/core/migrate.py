"""Alembic from within: the configuration stands in pyproject.toml, the scripts in migrations/."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from app.core.errors import DomainError
from app.core.turns import Turn

ROOT = Path(__file__).parent.parent.parent
LOCK = 0x746F756368  # any number that nothing else in the database locks


class CannotMigrate(DomainError):
    title = "The tables cannot be brought to this version"


def alembic_config(engine: Engine | None = None) -> Config:
    config = Config(toml_file=str(ROOT / "pyproject.toml"))
    config.set_main_option("script_location", str(ROOT / "migrations"))
    if engine is not None:
        config.attributes["engine"] = engine
    return config


def migrate_database(engine: Engine | None = None) -> str:
    """Upgrade to the newest revision and return it. Running it again changes nothing, and so does running it twice at
    once; killed on the way, it has changed nothing either. Refuses a database that a newer version has changed."""
    config = alembic_config(engine)
    command.upgrade(config, "head")
    return newest_revision(config)


@contextmanager
def alone(engine: Engine) -> Iterator[Connection]:
    """A connection in one transaction, in which nobody else changes the tables; what it did holds when all went well.

    SQLite changes a table by making it anew and dropping the old one, and with its foreign keys in force that would
    delete, or forbid, what refers to its rows: they are looked at once at the end instead.
    """
    turn, is_sqlite = Turn(), engine.dialect.name == "sqlite"
    with engine.connect().execution_options(touchstone_turn=turn) as connection:
        try:
            if is_sqlite:
                _set_foreign_keys(connection, "OFF")
            with connection.begin():
                if not is_sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
                _refuse_newer(connection)
                yield connection
                if is_sqlite and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first()):
                    lost = f"A row of {broken[0]} would refer to no row of {broken[2]}; nothing was changed."
                    raise CannotMigrate(lost, mend="Report this, with the versions you came from and go to.")
        finally:
            turn.give_back()
            if is_sqlite:
                _set_foreign_keys(connection, "ON")


def _set_foreign_keys(connection: Connection, state: str) -> None:
    """Between transactions: within one SQLite ignores it."""
    connection.connection.cursor().execute(f"PRAGMA foreign_keys={state}")


def _refuse_newer(connection: Connection) -> None:
    at = MigrationContext.configure(connection).get_current_revision()
    known = {each.revision for each in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    if at is not None and at not in known:
        raise CannotMigrate(
            f"The database is at revision {at}, which a newer version of Touchstone made. This version knows "
            f"{newest_revision()} and cannot go back.",
            mend="Install that newer version again, or restore the backup from before it into an empty installation.",
        )


def newest_revision(config: Config | None = None) -> str:
    return ScriptDirectory.from_config(config or alembic_config()).get_current_head() or "nothing"


def current_revision(engine: Engine) -> str | None:
    """The revision the database is at; none when it has never been migrated."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()
