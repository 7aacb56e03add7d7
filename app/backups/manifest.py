"""What a backup holds, as its own file says: the tables with their hashes, and which files of the store it needs."""

import hashlib
import importlib.metadata
from collections.abc import Iterator
from datetime import datetime
from typing import IO, Annotated

from pydantic import AfterValidator, BaseModel, ValidationError

from app.core.errors import Invalid
from app.core.storage import BLOCK, Artefacts

FORMAT = 1
NAME = "manifest.json"
DATABASES, FILES = "databases", "artefacts"  # folders of a backup; the second is shared by all that lie beside it


def _within(key: str) -> str:
    """What leads out of the place it belongs to was written by nobody who means well."""
    if key.startswith("/") or ".." in key.split("/"):
        raise ValueError("leads elsewhere")
    return key


Key = Annotated[str, AfterValidator(_within)]


class KeptTable(BaseModel):
    rows: int
    sha256: str  # of its packed file


class KeptFile(BaseModel):
    size: int
    sha256: str


class Manifest(BaseModel):
    format: int = FORMAT
    version: str
    revision: str  # of the tables
    made_at: datetime
    database: str  # sqlite | postgresql
    tables: dict[Key, KeptTable]
    files: dict[Key, KeptFile]
    missing: list[str] = []  # files that were deleted while the backup was made


def installed_version() -> str:
    return importlib.metadata.version("touchstone")


def stamps(place: Artefacts) -> list[str]:
    """The backups in a place that are whole, the oldest first: the manifest is written last."""
    return sorted({name.split("/")[0] for name, _ in place.files(DATABASES) if name.endswith(f"/{NAME}")})


def read_manifest(place: Artefacts, stamp: str) -> Manifest:
    with place.reading(f"{DATABASES}/{stamp}/{NAME}") as file:
        return manifest_of(file.read(), stamp)


def manifest_of(content: bytes, stamp: str = "") -> Manifest:
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise Invalid(
            f"The manifest of the backup {stamp} is not one that this version can read.",
            mend="Restore with the version that made it, or take an older backup.",
        ) from error


def blocks_of(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(BLOCK):
        yield block


def sha256_of(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks_of(file):
        digest.update(block)
    return digest.hexdigest()
