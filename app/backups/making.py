"""A backup while everything runs: one state of the database, and the files of the store that it speaks of.

The database is read in one transaction, table by table; labelers go on meanwhile. Files are written once and never
changed, so those that an earlier backup in the same place has are not copied again.
"""

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import IO, Any, cast

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from app.backups.manifest import DATABASES, FILES, NAME, KeptFile, KeptTable, Manifest, installed_version, sha256_of
from app.backups.rows import Values, write_lines
from app.core.clock import now
from app.core.db import Base, get_engine, reading_one_state
from app.core.errors import Conflict, NotFound
from app.core.migrate import current_revision, newest_revision
from app.core.storage import Artefacts
from app.registry.models import ModelState

ROWS_AT_ONCE = 2000
# What runs work in: it changes while it is copied. A run that a backup finds under way starts over when restored.
PASSING = ("checkpoints/", "unfinished/", "rollouts/")
Say = Callable[[str], None]


def make_backup(store: Artefacts, place: Artefacts, *, say: Say = lambda _: None, engine: Engine | None = None) -> str:
    """Its stamp, the moment it was begun. What stands in `place` already is left as it is."""
    database = engine or get_engine()
    revision = current_revision(database)
    if revision != newest_revision():
        raise Conflict("The database has not been brought to this version's tables.", mend="Run: touchstone migrate")
    made_at = now()
    stamp = made_at.strftime("%Y-%m-%dT%H-%M-%S-%fZ")
    named: set[str] = set()
    with reading_one_state(database) as session:
        tables = {table.name: _keep_table(session, table, place, stamp, named) for table in Base.metadata.sorted_tables}
    say(f"{sum(each.rows for each in tables.values()):,} rows of {len(tables)} tables are kept.")
    files, missing = _keep_files(store, place, say)
    folders = {str(parent) for file in files for parent in PurePosixPath(file).parents}
    missing += sorted(named - files.keys() - folders)
    manifest = Manifest(version=installed_version(), revision=revision or "", made_at=made_at, tables=tables,
                        database=database.dialect.name, files=files, missing=missing)  # fmt: skip
    with place.writing(f"{DATABASES}/{stamp}/{NAME}") as file:
        file.write(manifest.model_dump_json(indent=1).encode())
    return stamp


def _keep_table(session: Session, table: Any, place: Artefacts, stamp: str, named: set[str]) -> KeptTable:
    """`named` takes the files that its rows speak of."""
    key = f"{DATABASES}/{stamp}/{table.name}.jsonl.gz"
    with place.writing(key) as file:
        rows = write_lines(cast(IO[bytes], file), table, _rows(session, table, named))
    with place.reading(key) as file:
        return KeptTable(rows=rows, sha256=sha256_of(cast(IO[bytes], file)))


def _rows(session: Session, table: Any, named: set[str]) -> Iterator[Values]:
    query = select(table).order_by(*table.primary_key.columns).execution_options(yield_per=ROWS_AT_ONCE)
    for row in session.execute(query).mappings():
        if row.get("storage_key") and row.get("state") != ModelState.deleted:
            named.add(row["storage_key"])
        yield dict(row)


def _keep_files(store: Artefacts, place: Artefacts, say: Say) -> tuple[dict[str, KeptFile], list[str]]:
    there = dict(place.files(FILES))
    files: dict[str, KeptFile] = {}
    missing, copied = [], 0
    for key, size in store.everything():
        if key.startswith(PASSING):
            continue
        try:
            own = _hashed(store, key)
            # Both are read, so that a copy which the disk has lost since is noticed now and not when it is needed.
            if there.get(key) != size or _hashed(place, f"{FILES}/{key}") != own:
                _copy(store, place, key)
                copied += 1
            files[key] = own
        except NotFound:
            missing.append(key)
    say(f"{len(files):,} files of the artefact store are kept, {copied:,} of them new.")
    return files, missing


def _copy(store: Artefacts, place: Artefacts, key: str) -> None:
    with place.writing(f"{FILES}/{key}") as file:
        for block in store.blocks(key, 0):
            file.write(block)


def _hashed(store: Artefacts, key: str) -> KeptFile:
    with store.reading(key) as file:
        return KeptFile(size=store.size(key), sha256=sha256_of(cast(IO[bytes], file)))
