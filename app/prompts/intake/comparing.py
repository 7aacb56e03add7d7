"""The steps of hygiene that compare prompts: long common prefixes, near duplicates, at most so many of a source.

All of an import is compared at once when it has arrived, in arrays of numbers that are sorted: no prompt is looked up.
Few-shot prompts are compared with none: those of one instruction are alike by what they are (section 3.2).
"""

import hashlib
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from app.prompts.intake.alike import BANDS, Hashes, fingerprint, jaccard, plain_text, prefix_key, shingles
from app.prompts.intake.settings import CapBy, ImportSettings
from app.prompts.models import HeldFor, Prompt, PromptImport, PromptKind

ROWS_AT_ONCE, PAIRS_AT_ONCE, TEXTS_KEPT = 2000, 500, 4000
_REASONS = (None, HeldFor.prefix, HeldFor.near, HeldFor.cap)
_PREFIX, _NEAR, _CAP = 1, 2, 3


@dataclass
class Compared:
    """The prompts in use, then those of the import, in order; and of each why it is held, and beside which other."""

    ids: NDArray[np.void]  # (N,) 16 bytes each
    pool: int  # so many are in use already
    prefixes: Hashes  # (N,) 0: none
    bands: NDArray[np.uint32]  # (N, 16)
    sources: Hashes  # (N,) 0: none
    reasons: NDArray[np.uint8]  # (N,)
    beside: NDArray[np.int64]  # (N,) -1: none
    alike: NDArray[np.float32]  # (N,)

    def id_of(self, place: int) -> uuid.UUID:
        return uuid.UUID(bytes=self.ids[place].tobytes())

    def decision(self, place: int) -> tuple[HeldFor | None, uuid.UUID | None, float]:
        other = int(self.beside[place])
        return _REASONS[self.reasons[place]], self.id_of(other) if other >= 0 else None, float(self.alike[place])


def compare(session: Session, row: PromptImport, settings: ImportSettings) -> Compared:
    """Which of an import's prompts are to be held. The first of those that are alike is kept, the pool's before all."""
    found = _load(session, row, settings)
    if settings.prefix_characters:
        _hold_prefixes(found)
    if settings.near_alike:
        _hold_near(session, found, settings.near_alike)
    if settings.most_of_one:
        _hold_beyond(found, settings.most_of_one)
    return found


def arrived(row: PromptImport) -> Select[Any]:
    """What has arrived of an import and is not decided about, in the order of its file."""
    arriving = (Prompt.held_for == HeldFor.arriving, Prompt.is_retired.is_(True))
    query = select(Prompt.id).where(Prompt.import_id == row.id, *arriving)
    return query.order_by(Prompt.import_row, Prompt.id)


def _load(session: Session, row: PromptImport, settings: ImportSettings) -> Compared:
    pool = select(Prompt.id).where(Prompt.project_id == row.project_id, Prompt.is_retired.is_(False))
    before = [_arrays(each, settings) for each in _read(session, pool.order_by(Prompt.id), settings)]
    new = [_arrays(each, settings) for each in _read(session, arrived(row), settings)]
    ids, prefixes, bands, sources = (
        np.concatenate(parts)
        for parts in zip(_arrays([], settings), *before, *new, strict=True)  # the first: there may be none at all
    )
    count = len(ids)
    return Compared(
        ids, sum(len(part[0]) for part in before), prefixes, bands, sources, np.zeros(count, np.uint8),
        np.full(count, -1), np.zeros(count, np.float32),
    )  # fmt: skip


def _read(session: Session, query: Select[Any], settings: ImportSettings) -> Iterator[list[Any]]:
    """The columns that the steps need, a piece at a time."""
    source = Prompt.source_organisation if settings.cap_by is CapBy.organisation else Prompt.source_user
    query = query.add_columns(Prompt.kind, source.label("source"))
    if settings.prefix_characters:
        query = query.add_columns(Prompt.messages)
    if settings.near_alike:
        query = query.add_columns(Prompt.fingerprint)
    for piece in session.execute(query.execution_options(yield_per=ROWS_AT_ONCE)).partitions():
        yield list(piece)


def _arrays(rows: list[Any], settings: ImportSettings) -> tuple[NDArray[Any], ...]:
    ids = np.frombuffer(b"".join(row.id.bytes for row in rows), dtype="V16")
    prefixes = np.zeros(len(rows), np.uint64)
    bands = np.zeros((len(rows) if settings.near_alike else 0, BANDS), np.uint32)
    sources = np.array([_hashed(row.source) if settings.most_of_one else 0 for row in rows], np.uint64)
    for place, row in enumerate(rows):
        if row.kind == PromptKind.few_shot:
            continue
        if settings.prefix_characters:
            prefixes[place] = prefix_key(plain_text(row.messages), settings.prefix_characters)
        if settings.near_alike and row.fingerprint:
            bands[place] = np.frombuffer(row.fingerprint, "<u4")
    return ids, prefixes, bands, sources


def _hashed(name: str | None) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) or 1 if name else 0


def _hold_prefixes(found: Compared) -> None:
    firsts = _firsts(found.prefixes)
    places = np.arange(len(firsts))
    later = (found.prefixes != 0) & (firsts != places) & (places >= found.pool)
    found.reasons[later], found.beside[later] = _PREFIX, firsts[later]


def _firsts(keys: NDArray[Any]) -> NDArray[np.int64]:
    """For each place the first one that has the same key. (N,)"""
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    return first[which].astype(np.int64)


def _hold_near(session: Session, found: Compared, threshold: float) -> None:
    """Each prompt is compared with the first that shares a band with it; where that one is itself held for another,
    with that other."""
    texts = _Texts(session, found)
    pairs = _candidates(found)
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        piece = pairs[start : start + PAIRS_AT_ONCE]
        texts.fetch(np.unique(piece).tolist())
        for later, first in piece.tolist():
            if found.reasons[later]:
                continue
            kept = first
            while found.reasons[kept] and found.beside[kept] >= 0:
                kept = int(found.beside[kept])
            alike = jaccard(texts.shingles(later), texts.shingles(kept))
            if alike >= threshold:
                found.reasons[later], found.beside[later], found.alike[later] = _NEAR, kept, alike


def _candidates(found: Compared) -> NDArray[np.int64]:
    """Pairs of places, the later one first, in the order of the later ones. (P, 2)"""
    places, known = np.arange(len(found.ids)), found.bands.any(axis=1)
    count, pairs = max(1, len(places)), np.zeros(0, np.int64)
    for band in range(BANDS):
        firsts = _firsts(found.bands[:, band])
        later = known & (firsts != places) & (places >= found.pool) & (found.reasons == 0)
        pairs = np.union1d(pairs, places[later] * count + firsts[later])
    return np.stack([pairs // count, pairs % count], axis=1)


class _Texts:
    """The shingles of the prompts that are compared now."""

    def __init__(self, session: Session, found: Compared) -> None:
        self._session, self._found = session, found
        self._kept: OrderedDict[int, Hashes] = OrderedDict()

    def fetch(self, places: list[int]) -> None:
        by_id = {self._found.id_of(place): place for place in places if place not in self._kept}
        if by_id:
            query = select(Prompt.id, Prompt.messages).where(Prompt.id.in_(by_id))
            for prompt_id, messages in self._session.execute(query):
                self._kept[by_id[prompt_id]] = shingles(plain_text(messages))
        for place in places:
            if place in self._kept:
                self._kept.move_to_end(place)
        while len(self._kept) > TEXTS_KEPT:
            self._kept.popitem(last=False)

    def shingles(self, place: int) -> Hashes:
        if place not in self._kept:
            self.fetch([place])
        return self._kept.get(place, np.zeros(0, np.uint64))


def _hold_beyond(found: Compared, most: int) -> None:
    """Of each source the first `most` that are not held for anything else."""
    kept = np.flatnonzero((found.sources != 0) & (found.reasons == 0))
    order = np.argsort(found.sources[kept], kind="stable")
    keys = found.sources[kept][order]
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else np.zeros(0, np.int64)
    ranks = np.arange(len(keys)) - np.repeat(starts, np.diff(np.r_[starts, len(keys)]))
    beyond = kept[order[ranks >= most]]
    found.reasons[beyond[beyond >= found.pool]] = _CAP


def fill_fingerprints(session: Session, row: PromptImport, after: uuid.UUID | None) -> uuid.UUID | None:
    """Give the next prompts in use that came without one a fingerprint. Returns the last of them; none: all have."""
    query = select(Prompt.id, Prompt.messages).where(
        Prompt.project_id == row.project_id, Prompt.is_retired.is_(False), Prompt.kind != PromptKind.few_shot,
        Prompt.fingerprint.is_(None), *([Prompt.id > after] if after else []),
    )  # fmt: skip
    found = session.execute(query.order_by(Prompt.id).limit(ROWS_AT_ONCE // 4)).all()
    if not found:
        return None
    prints = [{"id": each.id, "fingerprint": fingerprint(plain_text(each.messages))} for each in found]
    session.execute(update(Prompt), prints)
    return uuid.UUID(str(found[-1].id))
