"""What two snapshots of one kind don't share, row by row."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from app.core.errors import Invalid
from app.core.storage import Artefacts
from app.datasets import service
from app.datasets.models import Snapshot
from app.datasets.rows import Row

FIRST = 10


@dataclass(frozen=True, slots=True)
class Change:
    """A row that both have, and the columns in which they differ: before and after."""

    row: Row
    columns: dict[str, tuple[Any, Any]]


@dataclass(slots=True)
class Difference:
    """How many rows each snapshot has that the other lacks, or has otherwise; and the first of them."""

    same: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0
    first_added: list[Row] = field(default_factory=list)
    first_removed: list[Row] = field(default_factory=list)
    first_changed: list[Change] = field(default_factory=list)

    def add(self, before: Row | None, after: Row | None) -> None:
        if before is None and after is not None:
            self.added += 1
            self.first_added += [after] if self.added <= FIRST else []
        elif before is not None and after is None:
            self.removed += 1
            self.first_removed += [before] if self.removed <= FIRST else []
        elif before is not None and after is not None:
            self._compare(before, after)

    def _compare(self, before: Row, after: Row) -> None:
        shared = before.keys() & after.keys()  # a column that a later version added is no change of a row
        if columns := {name: (before[name], after[name]) for name in sorted(shared) if before[name] != after[name]}:
            self.changed += 1
            self.first_changed += [Change(after, columns)] if self.changed <= FIRST else []
        else:
            self.same += 1


def check_kinds(before: Snapshot, after: Snapshot) -> None:
    if before.kind is not after.kind:
        raise Invalid(
            f"One holds {before.kind.value}, the other {after.kind.value}.", mend="Choose two snapshots of one kind."
        )


def compare(before: Snapshot, after: Snapshot, artefacts: Artefacts | None = None) -> Difference:
    """Read side by side, since both are in the order of ids: a few rows at a time are in memory."""
    check_kinds(before, after)
    found = Difference()
    if before.sha256 == after.sha256:
        found.same = after.rows
        return found
    for pair in _side_by_side(service.snapshot_rows(before, artefacts), service.snapshot_rows(after, artefacts)):
        found.add(*pair)
    return found


def _side_by_side(before: Iterator[Row], after: Iterator[Row]) -> Iterator[tuple[Row | None, Row | None]]:
    one, other = next(before, None), next(after, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one["id"] < other["id"]):
            yield one, None
            one = next(before, None)
        elif one is None or other["id"] < one["id"]:
            yield None, other
            other = next(after, None)
        else:
            yield one, other
            one, other = next(before, None), next(after, None)


def others_of(snapshot: Snapshot, all_of_project: list[Snapshot]) -> list[Snapshot]:
    """The newest snapshots that this one can be compared with."""
    return [each for each in all_of_project if each.id != snapshot.id][:100]
