"""What is counted of a dataset's rows while they go by."""

import hashlib
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from app.datasets.pairs import count_ties, preference_pairs
from app.datasets.rows import Row
from app.quality.agreement import Judged, agreement, mean_tau, meetings
from app.quality.alpha import ordinal_alpha, units_of
from app.quality.evidence import MOST_ITEMS, MOST_MEETINGS
from app.quality.intervals import Figure

ITEMS_KEPT = 10 * MOST_ITEMS


class Tally:
    """Counts the rows that go by."""

    def __init__(self) -> None:
        self.rows = 0
        self.splits: Counter[str] = Counter()
        self.labelers: set[str] = set()
        self.facts: Counter[str] = Counter()
        self.by: dict[str, Counter[str]] = {name: Counter() for name in ("use_case", "round", "source", "language")}
        self.models: Counter[str] = Counter()
        self.flags_set: Counter[str] = Counter()
        self.flags_asked: Counter[str] = Counter()
        self.moments: tuple[datetime, datetime] | None = None  # of the first label and of the last
        self.shared = SharedItems()

    def watch(self, rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            self.rows += 1
            self.splits[row["split"]] += 1
            for name, counted in self.by.items():
                if row.get(name) is not None:
                    counted[str(row[name])] += 1
            if "labeler" in row:
                self._count_label(row)
            if "ranks" in row:
                self._count_ranking(row)
            yield row

    def _count_label(self, row: Row) -> None:
        self.labelers.add(row["labeler"])
        self.facts["simulated"] += row["simulated"]
        made, known = row["labeled_at"], self.moments
        self.moments = (min(made, known[0]), max(made, known[1])) if known else (made, made)

    def _count_ranking(self, row: Row) -> None:
        self.facts["pairs"] += sum(1 for _ in preference_pairs(row["ranks"]))
        self.facts["ties"] += count_ties(row["ranks"])
        self.facts["all_bad"] += bool(row["all_bad"])
        self.models.update(model or "no model of this project" for model in row["models"])
        for flags in row["flags"]:
            self.flags_set.update(flags)
            self.flags_asked.update(set(row["flags_asked"]) | set(flags))
        self.shared.add(row)

    def counts(self) -> dict[str, int]:
        facts = {name: count for name, count in self.facts.items() if name != "all_bad"}
        found = {split: self.splits[split] for split in ("train", "valid", "test")} | facts
        return found | {"labelers": len(self.labelers)} if self.labelers else found


class SharedItems:
    """What labelers' agreement is taken from: the ranks of items that several ranked, found as rankings go by in any
    order. Only items with a small hash are kept, and the smaller the more there are: a sample that takes a bounded
    memory and is the same for the same rows."""

    def __init__(self, most: int = ITEMS_KEPT) -> None:
        self.most = most
        self.below = 2**64
        self.judged: dict[int, dict[str, list[int]]] = {}  # item's hash → labeler → ranks

    def add(self, row: Row) -> None:
        said = "\0".join([row["prompt_id"], *row["completions"]])
        item = int.from_bytes(hashlib.sha256(said.encode(errors="surrogatepass")).digest()[:8])
        if item >= self.below:
            return
        self.judged.setdefault(item, {})[row["labeler"]] = row["ranks"]
        while len(self.judged) > self.most:
            self.below //= 2
            self.judged = {each: ranks for each, ranks in self.judged.items() if each < self.below}

    def figures(self) -> dict[str, Any]:
        """Agreement, alpha and tau-b as `app.quality` measures them, where two labelers met at all."""
        judged = list(self._met())
        found = list(meetings(judged))
        measured = {
            "pairwise": agreement(found), "alpha": ordinal_alpha(units_of(judged)), "tau_b": mean_tau(found)
        }  # fmt: skip
        return {name: _plain(figure) for name, figure in measured.items() if figure is not None}

    def _met(self) -> Iterator[Judged]:
        people = Numbered()
        met = 0
        for item in sorted(item for item, ranks in self.judged.items() if len(ranks) > 1)[:MOST_ITEMS]:
            labelers = self.judged[item]
            met += len(labelers) * (len(labelers) - 1) // 2
            if met > MOST_MEETINGS:
                return
            for labeler, ranks in sorted(labelers.items()):
                places = {uuid.UUID(int=place): rank for place, rank in enumerate(ranks)}
                yield Judged(uuid.UUID(int=item), people[labeler], places)


class Numbered(dict[str, uuid.UUID]):
    """An id for each pseudonym."""

    def __missing__(self, labeler: str) -> uuid.UUID:
        self[labeler] = uuid.UUID(int=len(self))
        return self[labeler]


def _plain(figure: Figure) -> dict[str, Any]:
    low, high = figure.interval or (None, None)
    return {"value": figure.value, "low": low, "high": high, "n": figure.n, "items": figure.items}
