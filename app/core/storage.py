"""Artefacts (snapshots, checkpoints, models) under one fsspec URL: written beside, then renamed into place."""

import errno
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import fsspec

from app.core.config import get_settings
from app.core.errors import DomainError, NotFound
from app.core.outages import Outage

BLOCK = 2**20


class StoreRefuses(Outage):
    title = "The artefact store can’t be used"


def _refused(key: str, error: OSError) -> StoreRefuses:
    """The file that was to be written, why it was not, and what to do: shutil's errors hold those of many files."""
    full = errno.ENOSPC in (error.errno, getattr(error.__context__, "errno", None)) or "No space left" in str(error)
    mend = "Free space in the artefact store" if full else "See that the artefact store is there and can be written to"
    why = "it is full" if full else error.strerror or str(error)
    return StoreRefuses(f"Writing {key} failed: {why}.", mend=f"{mend}, then try again.")


class Artefacts:
    """One store. Keys are relative paths such as `models/<id>`; a key is never taken from a person's input."""

    def __init__(self, url: str, cache: Path) -> None:
        self.fs, self.root = fsspec.core.url_to_fs(url)
        self.is_local = "file" in (self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,))
        self.cache = cache

    def _path(self, key: str) -> str:
        parts = Path(key).parts
        if not key or Path(key).is_absolute() or ".." in parts:
            raise ValueError(f"not a key: {key!r}")
        return f"{self.root.rstrip('/')}/{key}"

    def exists(self, key: str) -> bool:
        return bool(self.fs.exists(self._path(key)))

    @contextmanager
    def writing(self, key: str) -> Iterator[BinaryIO]:
        """A binary file that appears under `key` whole or not at all."""
        path = self._path(key)
        beside = f"{path}.{uuid.uuid4().hex}.part"
        try:
            self.fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            with self.fs.open(beside, "wb") as file:
                yield file
            self.fs.mv(beside, path)
        except BaseException as error:
            with suppress(OSError):
                self.fs.rm(beside)
            if isinstance(error, OSError):
                raise _refused(key, error) from error
            raise

    def _missing(self, key: str) -> DomainError:
        if self.is_local and not Path(self.root).is_dir():
            return StoreRefuses(
                "The artefact store is not there.", mend="See that its disk is mounted, then try again."
            )
        return NotFound(f"{key} is not in the artefact store.", mend="Restore it from a backup.")

    @contextmanager
    def reading(self, key: str) -> Iterator[BinaryIO]:
        if not self.exists(key):
            raise self._missing(key)
        with self.fs.open(self._path(key), "rb") as file:
            yield file

    def blocks(self, key: str, start: int) -> Iterator[bytes]:
        """What `key` holds from byte `start` on, piece by piece; what comes before is not read."""
        with self.reading(key) as file:
            file.seek(start)
            while block := file.read(BLOCK):
                yield block

    def files(self, key: str) -> list[tuple[str, int]]:
        """The files under `key`, by their names below it, with their sizes, in the order of their names."""
        start = self._path(key).rstrip("/") + "/"
        found = self.fs.find(start, detail=True)
        return sorted((name.split(start, 1)[-1], int(facts["size"])) for name, facts in found.items())

    def everything(self) -> Iterator[tuple[str, int]]:
        """All that is whole in the store, by key, with its size."""
        start = self.root.rstrip("/") + "/"
        for name, facts in sorted(self.fs.find(start, detail=True).items()):
            if not any(part.endswith(".part") for part in Path(name).parts):
                yield name.split(start, 1)[-1], int(facts["size"])

    def size(self, key: str) -> int:
        return int(self.fs.size(self._path(key)))

    def put_folder(self, key: str, folder: Path) -> None:
        """Store `folder` whole under `key`. A folder already there is left: keys are written once."""
        if self.exists(key):
            return
        path = self._path(key)
        if self.is_local:
            beside = Path(f"{path}.{uuid.uuid4().hex}.part")
            try:
                shutil.copytree(folder, beside)
                beside.rename(path)
            except OSError as error:
                shutil.rmtree(beside, ignore_errors=True)
                raise _refused(key, error) from error
            return
        self.fs.put(f"{folder}/", f"{path}/", recursive=True)

    def folder(self, key: str) -> Path:
        """A local folder with the contents of `key`: the folder itself, or a copy fetched once."""
        if not self.exists(key):
            raise self._missing(key)
        if self.is_local:
            return Path(self._path(key))
        local = self.cache / key
        if not local.exists():
            beside = local.with_name(f"{local.name}.{uuid.uuid4().hex}.part")
            self.fs.get(f"{self._path(key)}/", f"{beside}/", recursive=True)
            beside.rename(local)
        return local

    @contextmanager
    def local_file(self, key: str) -> Iterator[Path]:
        """A local file with what `key` holds: the file itself, or a copy for as long as it is used."""
        if not self.exists(key):
            raise NotFound(
                f"{key} is not in the artefact store.",
                mend="All machines must share one store: see TOUCHSTONE_ARTEFACTS_URL.",
            )
        if self.is_local:
            yield Path(self._path(key))
            return
        with tempfile.TemporaryDirectory(prefix="touchstone-") as folder:
            copy = Path(folder) / Path(key).name
            self.fs.get_file(self._path(key), str(copy))
            yield copy

    def working_folder(self, key: str) -> Path:
        """A local folder to work in (checkpoints): inside the store when it is local, else in the cache."""
        folder = Path(self._path(key)) if self.is_local else self.cache / key
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def try_writing(self, key: str) -> None:
        """Write a small file and remove it again, or raise what the store raises."""
        if self.is_local:
            self.fs.makedirs(self.root, exist_ok=True)
        self.fs.pipe_file(self._path(key), b"touchstone")
        self.fs.rm_file(self._path(key))

    def remove(self, key: str) -> None:
        if self.exists(key):
            self.fs.rm(self._path(key), recursive=True)


@lru_cache
def get_artefacts() -> Artefacts:
    settings = get_settings()
    if settings.artefacts_url is None:
        (settings.state_dir / "artefacts").mkdir(parents=True, exist_ok=True)
    return Artefacts(settings.artefacts, cache=settings.state_dir / "cache")
