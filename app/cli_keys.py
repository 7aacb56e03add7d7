"""`touchstone rotate-key`."""

import typer

from app.core import sealing
from app.core.config import get_settings
from app.core.db import writing


def rotate_key() -> None:
    """Seal second factors and webhooks' secrets anew: with a key made now, or the first of TOUCHSTONE_SECRET_KEY."""
    if get_settings().secret_key is None:
        sealing.add_key()
    with writing() as session:
        count = sealing.reseal_all(session)
    typer.echo(
        f"{count} values are sealed with the newest key. Earlier backups still need the key they were made with."
    )
