"""`touchstone backup` and `touchstone restore`."""

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.exc import SQLAlchemyError

from app import tables  # noqa: F401  the metadata must be whole before the first query
from app.backups import making, restoring
from app.backups.manifest import Manifest
from app.cli_models import end
from app.core import sealing
from app.core.config import get_settings
from app.core.db import get_engine, make_engine, reading, writing
from app.core.errors import DomainError
from app.core.migrate import migrate_database
from app.core.storage import Artefacts, get_artefacts

Place = Annotated[str, typer.Argument(help="A folder, or an fsspec URL such as s3://bucket/backups.")]


def _place(address: str) -> Artefacts:
    return Artefacts(address if "://" in address else str(Path(address).absolute()), get_settings().state_dir / "cache")


def backup(
    place: Place,
    check: Annotated[
        bool, typer.Option(help="Restore the tables into a passing SQLite file, to see that it works.")
    ] = True,
) -> None:
    """Keep the database and the artefacts as they are now, while everything runs. Later backups in the same place copy
    only what is new."""
    os.umask(0o077)  # it holds everything: hashes of passwords, secrets of webhooks
    try:
        target = _place(place)
        stamp = making.make_backup(get_artefacts(), target, say=typer.echo)
        _, manifest = restoring.choose(target, stamp)
        if check:
            _try(target, stamp, manifest)
    except DomainError as error:
        end(error)
    except (OSError, ImportError, ValueError, SQLAlchemyError) as error:
        end(_failed("made", error))
    for key in manifest.missing:
        typer.echo(f"{key} was deleted while the backup was made, and is not in it.")
    typer.echo(f"The backup {stamp} is whole{' and can be restored' if check else ''}: touchstone restore {place}")


def _failed(done: str, error: Exception) -> DomainError:
    """What the place, its file system or the database said."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return DomainError(f"The backup could not be {done}: {first[:300]}", mend="Mend that, then run it again.")


def _try(place: Artefacts, stamp: str, manifest: Manifest) -> None:
    with tempfile.TemporaryDirectory(prefix="touchstone-") as folder:
        engine = make_engine(f"sqlite:///{folder}/restored.db")
        try:
            restoring.refuse_other_revision(manifest, migrate_database(engine))
            restoring.check_tables(place, stamp, manifest)
            with writing(engine) as session:
                restoring.restore_tables(session, place, stamp, manifest)
        finally:
            engine.dispose()


def _say_what_is_sealed() -> None:
    """A backup holds what was sealed as it was, and not the key."""
    with reading() as session:
        if sealed := sealing.count_unreadable(session):
            typer.echo(
                f"{sealed} secrets (of webhooks and second factors) were sealed with a key that is not here: put the "
                f"{sealing.FILE} of that installation into {get_settings().state_dir}, or set TOUCHSTONE_SECRET_KEY."
            )


def restore(
    place: Place, at: Annotated[str, typer.Option(help="The backup's stamp; the newest by default.")] = ""
) -> None:
    """Bring a backup back into an empty installation, on SQLite or PostgreSQL, whichever it was made on."""
    try:
        source = _place(place)
        stamp, manifest = restoring.choose(source, at)
        restoring.restore(get_engine(), get_artefacts(), source, stamp, manifest, say=typer.echo)
    except DomainError as error:
        end(error)
    except (OSError, ImportError, ValueError, SQLAlchemyError) as error:
        end(_failed("restored", error))
    _say_what_is_sealed()
    typer.echo(f"This installation is as it was at {manifest.made_at:%Y-%m-%d %H:%M:%S} UTC. Start it: touchstone up")
