"""The form that freezes a dataset, as it is typed."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from pydantic import BaseModel

from app.datasets.models import SnapshotKind


class FreezeForm(BaseModel):
    """All as the browser sends it: what can't be read goes on to the filter, which refuses it by name."""

    kind: SnapshotKind = SnapshotKind.comparisons
    purpose: str = "training"
    splits: list[str] = []
    use_cases: list[str] = []
    rounds: str = ""
    batches: list[str] = []
    since: str = ""
    last_day: str = ""
    groups: list[str] = []
    guidelines: str = ""
    rating_schemas: str = ""
    models: list[str] = []
    min_agreement: str = ""  # in percent
    include_simulated: bool = False
    without_adjudications: bool = False

    def wanted(self) -> dict[str, Any]:
        """What a `SnapshotFilter` reads."""
        same = self.model_dump(include={"purpose", "splits", "use_cases", "batches", "groups", "models",
                                        "include_simulated"})  # fmt: skip
        numbers = {name: getattr(self, name).replace(",", " ").split()
                   for name in ("rounds", "guidelines", "rating_schemas")}  # fmt: skip
        return {
            **same,
            **numbers,
            "since": _day(self.since, 0),
            "until": _day(self.last_day, 1),
            "min_agreement": _share(self.min_agreement),
            "use_adjudications": not self.without_adjudications,
        }


def _day(typed: str, more: int) -> datetime | str | None:
    """The moment at which a day begins, or the one so many days later."""
    if not typed.strip():
        return None
    try:
        return datetime.combine(date.fromisoformat(typed.strip()) + timedelta(days=more), time(), UTC)
    except (ValueError, OverflowError):
        return typed


def _share(typed: str) -> float | str | None:
    if not typed.strip():
        return None
    try:
        return round(float(typed.strip().removesuffix("%")) / 100, 6)
    except ValueError:
        return typed
