"""Gold accuracy: how often a labeler orders two completions as the known answer does."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from app.quality.intervals import Figure, clustered_figure


@dataclass(frozen=True, slots=True)
class GoldAnswer:
    """One labeler's first answer to an item whose answer is known."""

    item_id: uuid.UUID
    person_id: uuid.UUID
    alike: int  # of the pairs that the known answer orders, those that the labeler orders alike
    pairs: int
    week: date


def gold_ranks(gold: Mapping[str, Any] | None) -> dict[uuid.UUID, int]:
    """The ranks of an item's known answer; none when it has only flags, or none at all."""
    return {uuid.UUID(completion): rank for completion, rank in ((gold or {}).get("ranks") or {}).items()}


def gold_accuracy(answers: Iterable[GoldAnswer], *, seed: int = 0) -> Figure | None:
    """The share of all pairs ordered alike; none without gold."""
    return clustered_figure(((each.item_id, each.alike, each.pairs) for each in answers), seed=seed)
