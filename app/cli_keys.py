"""`touchstone rotate-key`."""

import typer
from sqlalchemy.orm import Session

from app.core import sealing
from app.core.config import get_settings
from app.core.db import reading, writing


def rotate_key() -> None:
    """Seal second factors and webhooks' secrets anew: with a key made now, or the first of TOUCHSTONE_SECRET_KEY."""
    has_file = get_settings().secret_key is None
    with reading() as session:
        _refuse_unreadable(session)
    if has_file:
        sealing.add_key()
    with writing() as session:
        count = sealing.reseal_all(session)
    if has_file:  # and not before what the old ones sealed is committed anew
        sealing.drop_old_keys()
    typer.echo(
        f"{count} values are sealed with the newest key. Earlier backups still need the key they were made with."
    )


def _refuse_unreadable(session: Session) -> None:
    if count := sealing.count_unreadable(session):
        raise sealing.Unreadable(
            f"{count} values were sealed with a key that is not here, so nothing was changed.",
            mend="Put that key behind the others, or reset those second factors and remove those webhooks.",
        )
