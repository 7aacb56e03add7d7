"""Which split a prompt belongs to: decided by its source, so that no source is in two splits."""

import hashlib
import json
import unicodedata
from dataclasses import dataclass, field
from typing import Any

from app.prompts.models import Split

TRAIN_PERCENT, VALID_PERCENT = 70, 15


class SplitConflict(ValueError):
    """The sources of one prompt lie in different splits; the message says which."""


def split_of(source: str) -> Split:
    """The split of a source that has none yet. Depends on its name only: every installation decides alike."""
    percent = int(hashlib.sha256(f"split:{source}".encode()).hexdigest()[:8], 16) % 100
    if percent < TRAIN_PERCENT:
        return Split.train
    return Split.valid if percent < TRAIN_PERCENT + VALID_PERCENT else Split.test


def content_hash(messages: list[dict[str, Any]]) -> str:
    """The same for two prompts that differ in spacing or in how their accents are encoded only."""
    turns = [[m["role"], " ".join(unicodedata.normalize("NFC", m["content"]).split())] for m in messages]
    return hashlib.sha256(json.dumps(turns, ensure_ascii=False).encode()).hexdigest()


@dataclass
class SplitBook:
    """The split that each organisation and each user of a project has."""

    organisations: dict[str, Split] = field(default_factory=dict)
    users: dict[str, Split] = field(default_factory=dict)

    def place(self, *, organisation: str | None, user: str | None, content: str, wanted: Split | None) -> Split:
        """The split for a prompt of these sources, noted for the next. A prompt without a source stands for itself."""
        claims: dict[str, Split] = {}
        if organisation and organisation in self.organisations:
            claims[f"organisation “{organisation}”"] = self.organisations[organisation]
        if user and user in self.users:
            claims[f"user “{user}”"] = self.users[user]
        if wanted:
            claims["this row"] = wanted
        if len(set(claims.values())) > 1:
            parts = [f"{who} {'asks for' if who == 'this row' else 'is in'} {split}" for who, split in claims.items()]
            raise SplitConflict(f"{', but '.join(parts)}; no source may be in two splits")
        split = next(iter(claims.values()), None) or split_of(organisation or user or content)
        self._note(organisation, user, split)
        return split

    def forget_beyond(self, most: int) -> None:
        """Start anew where it has become long; what is forgotten stands in the pool."""
        if len(self.organisations) + len(self.users) > most:
            self.organisations.clear()
            self.users.clear()

    def _note(self, organisation: str | None, user: str | None, split: Split) -> None:
        if organisation:
            self.organisations[organisation] = split
        if user:
            self.users[user] = split
