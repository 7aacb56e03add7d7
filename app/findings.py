"""What `touchstone doctor` says of one thing that it looked at."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from app.core.config import Settings


class State(StrEnum):
    """`note` works, but not everything that could be there is."""

    ok = "ok"
    note = "note"
    wrong = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at, what was found, and how to mend it when something is amiss."""

    name: str
    state: State
    found: str
    mend: str = ""


Check = Callable[[Settings], Finding]
