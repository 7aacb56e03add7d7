"""Who is compared: a model as it writes, or the best of several of its completions. The two are never one."""

import uuid
from dataclasses import dataclass
from typing import NamedTuple

from app.registry.models import Model


class Contestant(NamedTuple):
    """Completions of one model, each the best of `best_of` by a reward model; 1: as it wrote them."""

    model_id: uuid.UUID
    best_of: int = 1

    def __str__(self) -> str:
        """As addresses have it."""
        return str(self.model_id) if self.best_of == 1 else f"{self.model_id}:{self.best_of}"


@dataclass(frozen=True, slots=True)
class Judged:
    """A contestant with its model."""

    model: Model
    best_of: int

    @property
    def contestant(self) -> Contestant:
        return Contestant(self.model.id, self.best_of)

    @property
    def name(self) -> str:
        return self.model.name if self.best_of == 1 else f"{self.model.name}, best of {self.best_of}"
