"""A model as a download: its folder and its card in one tar file, made as it is sent, that can be gone on with."""

import hashlib
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from app.core.errors import Conflict
from app.core.storage import Artefacts
from app.datasets.downloads import Download
from app.registry.models import Model, ModelState

CARD = "README.md"


@dataclass(frozen=True, slots=True)
class Segment:
    """Some bytes of the file: how many, and how to read them from the n-th on."""

    size: int
    read: Callable[[int], Iterator[bytes]]


def model_tar(artefacts: Artefacts, model: Model, card: str) -> Download:
    """An ordinary Hugging Face folder, packed. Its own README.md gives way to the card. Conflict: it has no files."""
    if model.state != ModelState.ready or not model.storage_key:
        raise Conflict(f"{model.name} is {model.state}: it has no files.", mend="Only a ready model can be downloaded.")
    segments = list(_segments(artefacts, model, card))
    etag = hashlib.sha256(f"{model.storage_key}|{card}".encode()).hexdigest()[:32]
    blocks = partial(_from, segments)
    return Download(f"{model.name}.tar", "application/x-tar", etag, blocks, sum(each.size for each in segments))


def _segments(artefacts: Artefacts, model: Model, card: str) -> Iterator[Segment]:
    assert model.storage_key is not None
    for name, size in artefacts.files(model.storage_key):
        if name != CARD:
            yield from _entry(model, name, Segment(size, partial(artefacts.blocks, f"{model.storage_key}/{name}")))
    yield from _entry(model, CARD, _bytes(card.encode()))
    yield _bytes(bytes(2 * tarfile.BLOCKSIZE))


def _entry(model: Model, name: str, content: Segment) -> Iterator[Segment]:
    header = tarfile.TarInfo(f"{model.name}/{name}")
    header.size, header.mtime = content.size, int(model.created_at.timestamp())
    yield _bytes(header.tobuf(tarfile.PAX_FORMAT))
    yield content
    yield _bytes(bytes(-content.size % tarfile.BLOCKSIZE))


def _bytes(content: bytes) -> Segment:
    return Segment(len(content), lambda start: iter([content[start:]]))


def _from(segments: list[Segment], start: int) -> Iterator[bytes]:
    """What is before `start` is passed over without being read."""
    for each in segments:
        if start < each.size:
            yield from each.read(start)
        start = max(0, start - each.size)
