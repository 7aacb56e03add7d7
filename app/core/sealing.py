"""What has to be read again, but not by whoever gets a copy of the database: sealed by a key that stands outside it."""

import os
import secrets
from base64 import urlsafe_b64encode
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Column, select, update
from sqlalchemy.orm import Session

from app.core.config import SHORTEST_KEY, WrongSettings, get_settings
from app.core.db import Base
from app.core.errors import DomainError

FILE = "secret.key"
KEPT_KEYS = 2  # of the file: what is sealed while the key changes is read with the one before


class Unreadable(DomainError):
    """Sealed with another key, or too long ago, or not by us."""

    title = "That can't be read"


def seal(text: str, purpose: str) -> str:
    return _ring(purpose).encrypt(text.encode()).decode()


def unseal(sealed: str, purpose: str, *, within: timedelta | None = None) -> str:
    """What was sealed for this purpose, at most `within` ago."""
    try:
        return _ring(purpose).decrypt(sealed.encode(), ttl=int(within.total_seconds()) if within else None).decode()
    except InvalidToken:
        raise Unreadable(
            "This was sealed with a key that is not here.",
            mend=f"The installation needs the {FILE} or TOUCHSTONE_SECRET_KEY that it had.",
        ) from None


def sealed_column(purpose: str) -> dict[str, str]:
    """What a column of sealed text says of itself, so that a new key finds it: `mapped_column(info=...)`."""
    return {"sealed": purpose}


def _ring(purpose: str) -> MultiFernet:
    """Each purpose has keys of its own, so that what is sealed for one can't stand in for another."""
    return MultiFernet([Fernet(_derived(key, purpose)) for key in keys()])


def _derived(key: str, purpose: str) -> bytes:
    derived = HKDF(SHA256(), length=32, salt=None, info=f"touchstone {purpose}".encode()).derive(key.encode())
    return urlsafe_b64encode(derived)


def keys() -> list[str]:
    """The installation's keys, the newest first; the first one is made here. WrongSettings: one is no secret."""
    settings = get_settings()
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value().split(",")
    file = settings.state_dir / FILE
    if not file.exists():
        _make(file)
    return read_keys(file)


def read_keys(file: Path) -> list[str]:
    if file.stat().st_mode & 0o077:
        raise WrongSettings(f"{file} can be read by others.", mend=f"Run `chmod 600 {file}`, then make a new key: "
                            "`touchstone rotate-key`.")  # fmt: skip
    found = file.read_text().split()
    if not found or min(map(len, found)) < SHORTEST_KEY:
        raise WrongSettings(
            f"{file} holds no key, or one that is too short.", mend="Bring it back as it was, from where you keep it."
        )
    return found


def _make(file: Path) -> None:
    """Whole or not at all, and by one process alone: several may start at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    passing = _written(file, [secrets.token_urlsafe(32)])
    with suppress(FileExistsError):
        os.link(passing, file)
    passing.unlink()


def _written(file: Path, kept: list[str]) -> Path:
    passing = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    handle = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as out:
        out.write("\n".join(kept) + "\n")
        out.flush()
        os.fsync(out.fileno())
    return passing


def add_key() -> None:
    """A new key in the file, before all that it had: from now on all is sealed with it, and all still opens."""
    file = get_settings().state_dir / FILE
    _written(file, [secrets.token_urlsafe(32), *keys()]).replace(file)


def drop_old_keys() -> None:
    """To be done once all that stands in the database is sealed with the newest."""
    file = get_settings().state_dir / FILE
    _written(file, keys()[:KEPT_KEYS]).replace(file)


def _columns() -> list[tuple[Column[str], str]]:
    found = [column for table in Base.metadata.sorted_tables for column in table.columns]
    return [(column, column.info["sealed"]) for column in found if "sealed" in column.info]


def reseal_all(session: Session) -> int:
    """Seal everything with the newest key. Returns how many values there were."""
    sealed = 0
    for column, purpose in _columns():
        table, ring = column.table, _ring(purpose)
        for row_id, value in session.execute(select(table.c.id, column).where(column.is_not(None))).all():
            try:
                anew = ring.rotate(value.encode()).decode()
            except InvalidToken:
                raise Unreadable(
                    f"A value in {column} was sealed with a key that is not here.",
                    mend="Put that key behind the new one, or remove what it sealed.",
                ) from None
            session.execute(update(column.table).where(table.c.id == row_id).values({column.name: anew}))
            sealed += 1
    return sealed


def count_unreadable(session: Session) -> int:
    """How many values none of the keys opens, as after restoring without the key."""
    count = 0
    for column, purpose in _columns():
        for value in session.scalars(select(column).where(column.is_not(None))):
            try:
                unseal(value, purpose)
            except Unreadable:
                count += 1
    return count
