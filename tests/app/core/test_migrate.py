"""The migrations make exactly the tables that the code declares."""

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine

from app.core.migrate import current_revision, migrate_database, newest_revision
from app.tables import metadata


def test_migrated_tables_equal_the_declared_ones(engine: Engine) -> None:
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_migrating_again_changes_nothing(engine: Engine) -> None:
    assert migrate_database(engine) == current_revision(engine) == newest_revision()
