"""Artefacts (snapshots, checkpoints, models) under one fsspec URL: each appears whole or not at all."""

import errno
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import fsspec

from app.core.config import get_settings
from app.core.errors import DomainError, NotFound
from app.core.outages import Outage
from app.core.store_errors import StoreAway, saying_what_broke, saying_what_broke_below

BLOCK = 2**20
MARK = ".part"  # in a folder of a store that can't rename: it is being put or removed, and does not count
# How long a page waits for a store that is away: two tries of a few seconds, not botocore's five.
PATIENCE = {"connect_timeout": 5, "read_timeout": 30, "retries": {"mode": "standard", "max_attempts": 2}}


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
        try:
            self.fs, self.root = fsspec.core.url_to_fs(url, **_options(url))
        except ImportError as error:
            raise StoreAway(
                f"The artefact store needs a package that is not installed: {error}",
                mend="For S3 install Touchstone with its extra s3: pip install -e '.[s3]'",
            ) from error
        self.is_local = "file" in (self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,))
        self.cache = cache

    def _path(self, key: str) -> str:
        parts = Path(key).parts
        if not key or Path(key).is_absolute() or ".." in parts:
            raise ValueError(f"not a key: {key!r}")
        return f"{self.root.rstrip('/')}/{key}"

    def _asking(self) -> AbstractContextManager[None]:
        return nullcontext() if self.is_local else saying_what_broke()

    def exists(self, key: str) -> bool:
        """Whether it is there and whole."""
        path = self._path(key)
        with self._asking():
            return bool(self.fs.exists(path)) and (self.is_local or not self.fs.exists(f"{path}/{MARK}"))

    def writing(self, key: str) -> AbstractContextManager[BinaryIO]:
        """A binary file that appears under `key` whole or not at all."""
        return self._writing_beside(key) if self.is_local else self._writing_object(key)

    @contextmanager
    def _writing_beside(self, key: str) -> Iterator[BinaryIO]:
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
    def _writing_object(self, key: str) -> Iterator[BinaryIO]:
        """An object is there once its upload is completed, which closing does, and only closing."""
        with self._asking():
            file = self.fs.open(self._path(key), "wb")
            try:
                yield file
                file.close()
            except BaseException:
                file.closed = True  # first: whatever discarding does, nothing completes what is not whole
                file.discard()
                raise

    @contextmanager
    def reading(self, key: str) -> Iterator[BinaryIO]:
        with self._asking():
            try:
                file = self.fs.open(self._path(key), "rb")
            except FileNotFoundError:
                raise self._missing(key) from None
        with file, nullcontext() if self.is_local else saying_what_broke_below():
            yield file

    def blocks(self, key: str, start: int) -> Iterator[bytes]:
        """What `key` holds from byte `start` on, piece by piece; what comes before is not read."""
        with self.reading(key) as file:
            file.seek(start)
            while block := file.read(BLOCK):
                yield block

    def files(self, key: str) -> list[tuple[str, int]]:
        """The files under `key` that are whole, by their names below it, with their sizes, in the order of names."""
        return list(self._whole(self._path(key).rstrip("/") + "/"))

    def everything(self) -> Iterator[tuple[str, int]]:
        """All that is whole in the store, by key, with its size."""
        return self._whole(self.root.rstrip("/") + "/")

    def _whole(self, start: str) -> Iterator[tuple[str, int]]:
        with self._asking():
            found = self.fs.find(start, detail=True)
        named = sorted((name.split(start, 1)[-1], int(facts["size"])) for name, facts in found.items())
        unfinished = {PurePosixPath(name).parent for name, _ in named if PurePosixPath(name).name == MARK}
        for name, size in named:
            path = PurePosixPath(name)
            if not unfinished.intersection(path.parents) and not any(part.endswith(".part") for part in path.parts):
                yield name, size

    def size(self, key: str) -> int:
        with self._asking():
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
        with self._asking():
            self.fs.pipe_file(f"{path}/{MARK}", b"")
            self.put_files((file, f"{key}/{file.relative_to(folder)}") for file in folder.rglob("*") if file.is_file())
            self.fs.rm_file(f"{path}/{MARK}")

    def put_files(self, pairs: Iterable[tuple[Path, str]]) -> None:
        """Copy files into a store on another machine, several at once."""
        given = list(pairs)
        if given:
            with self._asking():
                self.fs.put([str(file) for file, _ in given], [self._path(key) for _, key in given])

    def get_files(self, pairs: Iterable[tuple[str, Path]]) -> None:
        """Copy files out of a store on another machine, several at once. FileNotFoundError: one is not there."""
        asked = list(pairs)
        for _, file in asked:
            file.parent.mkdir(parents=True, exist_ok=True)
        with saying_what_broke_below():
            self.fs.get([self._path(key) for key, _ in asked], [str(file) for _, file in asked])

    def folder(self, key: str) -> Path:
        """A local folder with the contents of `key`: the folder itself, or a copy fetched once."""
        if not self.exists(key):
            raise self._missing(key)
        if self.is_local:
            return Path(self._path(key))
        local = self.cache / key
        if not local.exists():
            self._fetch(key, local)
        return local

    def _fetch(self, key: str, local: Path) -> None:
        """Of several processes that fetch the same at once the first one's copy stays."""
        beside = local.with_name(f"{local.name}.{uuid.uuid4().hex}.part")
        try:
            with self._asking():
                self.get_files((f"{key}/{name}", beside / name) for name, _ in self.files(key))
            try:
                beside.rename(local)
            except OSError:
                if not local.exists():
                    raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)

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
            with self._asking():
                self.fs.get_file(self._path(key), str(copy))
            yield copy

    def working_folder(self, key: str) -> Path:
        """A local folder to work in: inside the store when it is local, else in the cache."""
        folder = Path(self._path(key)) if self.is_local else self.cache / key
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def try_writing(self, key: str) -> None:
        """Write a small file and remove it again, or raise what the store raises."""
        with self._asking():
            if self.is_local:
                self.fs.makedirs(self.root, exist_ok=True)
            self.fs.pipe_file(self._path(key), b"touchstone")
            self.fs.rm_file(self._path(key))

    def remove(self, key: str) -> None:
        path = self._path(key)
        if self.is_local:
            if self.fs.exists(path):
                self.fs.rm(path, recursive=True)
            return
        with self._asking():
            mark = f"{path}/{MARK}"
            found = [name for name in self.fs.find(path) if name != mark]
            is_folder = found != [path]
            if is_folder:  # also what an earlier attempt left of it
                self.fs.pipe_file(mark, b"")
            if found:
                self.fs.rm(found)
            if is_folder:
                self.fs.rm_file(mark)


def _options(url: str) -> dict[str, Any]:
    # Other processes write too: what a listing said a minute ago is no answer.
    return {"use_listings_cache": False} | ({"config_kwargs": PATIENCE} if url.startswith(("s3:", "s3a:")) else {})


@lru_cache
def get_artefacts() -> Artefacts:
    settings = get_settings()
    if settings.artefacts_url is None:
        (settings.state_dir / "artefacts").mkdir(parents=True, exist_ok=True)
    return Artefacts(settings.artefacts, cache=settings.state_dir / "cache")
