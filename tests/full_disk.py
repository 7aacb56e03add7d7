"""A database that has no room for one more page, as each of the two kinds says it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event, text

from app.core.db import writing

BIG = "A long answer. " * 2000  # of more pages than may be left half empty


@contextmanager
def full_disk(engine: Engine) -> Iterator[None]:
    """SQLite is given no further page, and refuses as where the disk has none. PostgreSQL's own error for a full disk
    is raised where a demonstration is stored; a disk that is really full is a matter of tests/chaos."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "checkout", _allow_no_page)
        try:
            yield
        finally:
            event.remove(engine, "checkout", _allow_no_page)
            engine.dispose()
        return
    with writing(engine) as session:
        session.execute(text(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN RAISE EXCEPTION 'could not extend file: No space left' USING ERRCODE = 'disk_full'; END$$"
        ))  # fmt: skip
        session.execute(text("CREATE TRIGGER full_disk BEFORE INSERT ON demonstration EXECUTE FUNCTION refuse()"))
    try:
        yield
    finally:
        with writing(engine) as session:
            session.execute(text("DROP TRIGGER full_disk ON demonstration"))


def _allow_no_page(connection: Any, _record: Any, _proxy: Any) -> None:
    connection.execute("PRAGMA max_page_count = 1")
