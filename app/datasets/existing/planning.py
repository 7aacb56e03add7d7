"""What of a file of labels is new, what is there already, and what can't be taken."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.datasets.existing.plain import Labeled, Order
from app.datasets.existing.shapes import ReadRow
from app.labeling.models import Assignment, Batch, Demonstration, Item
from app.labeling.service import MOST_COMPLETIONS
from app.projects.models import Project
from app.prompts import service as prompts
from app.prompts.models import Prompt, Verdict
from app.prompts.readers import RawRow
from app.prompts.schemas import ImportReport, keepable
from app.prompts.splits import content_hash

ROWS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Taken:
    """What of one row is taken; or why nothing is."""

    number: int
    labeled: Labeled | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What taking a file does, or did."""

    taken: list[Taken]
    refused: list[Taken]
    counts: dict[str, int] = field(default_factory=dict)  # new prompts, known prompts, demonstrations, rankings, ...

    @property
    def is_empty(self) -> bool:
        return not self.counts["demonstrations"] + self.counts["rankings"]


class Plan:
    """Sorts a file's rows into what is new and what can't be taken."""

    def __init__(self, session: Session, project: Project, rows: Iterable[ReadRow], file: str) -> None:
        self.demonstrations: list[tuple[str, str, str]] = []  # hash of the prompt, text, labeler
        self.rankings: list[tuple[str, Labeled]] = []  # hash of the prompt, and what was ranked
        self._written = set(_written_before(session, project))
        self._ranked = set(_ranked_before(session, project))
        self._known = 0
        each = [part for row in rows for part in _parts(row)]
        verdicts = prompts.check_import(
            session, project, [_as_prompt(n, part.labeled) for n, part in enumerate(each) if part.labeled]
        ).rows
        self.prompts = ImportReport([judged for judged in verdicts if judged.verdict is not Verdict.refused])
        refused = {judged.number: judged.reason for judged in verdicts if judged.verdict is Verdict.refused}
        judged_parts = [replace(part, labeled=None, problem=refused[n]) if n in refused else part
                        for n, part in enumerate(each)]  # fmt: skip
        taken = [part for part in judged_parts if part.labeled]
        for part in taken:
            self._sort(part.labeled, project, file)
        counts = {"new_prompts": len(self.prompts.taken), "demonstrations": len(self.demonstrations),
                  "rankings": self._orders(),
                  "completions": sum(len(labeled.candidates) for _, labeled in self.rankings),
                  "known": self._known}  # fmt: skip
        self.report = Report(taken, [part for part in judged_parts if part.problem], counts)

    def _sort(self, labeled: Labeled | None, project: Project, file: str) -> None:
        assert labeled is not None
        prompt = content_hash(labeled.messages)
        for written in labeled.written:
            if (prompt, written.text) in self._written:
                self._known += 1
                continue
            self._written.add((prompt, written.text))
            self.demonstrations.append((prompt, written.text, written.labeler))
        fresh = tuple(order for order in labeled.orders if self._is_new(project, prompt, labeled, order, file))
        if fresh:
            self.rankings.append((prompt, replace(labeled, orders=fresh)))

    def _is_new(self, project: Project, prompt: str, labeled: Labeled, order: Order, file: str) -> bool:
        key = key_of(project, prompt, labeled, order, file)
        is_new = key not in self._ranked
        self._ranked.add(key)
        self._known += not is_new
        return is_new

    def _orders(self) -> int:
        return sum(len(labeled.orders) for _, labeled in self.rankings)


def _parts(row: ReadRow) -> Iterator[Taken]:
    """What a row says of each of its prompts: labelers without a name get one, and what cannot be kept is said."""
    if row.problem:
        yield Taken(row.number, problem=row.problem)
    for labeled in row.labeled:
        problem = _problem(labeled)
        orders = tuple(replace(order, labeler=order.labeler or f"annotator {place}")
                       for place, order in enumerate(labeled.orders, start=1))  # fmt: skip
        yield Taken(row.number, None if problem else replace(labeled, orders=orders), problem)


def _problem(labeled: Labeled) -> str:
    if not labeled.orders and not labeled.written:
        return "holds neither a ranking nor a demonstration"
    if len(labeled.candidates) > MOST_COMPLETIONS:
        return f"has {len(labeled.candidates)} completions; a ranking has {MOST_COMPLETIONS} at most"
    if any(sum(rank is not None for rank in order.ranks) < 2 for order in labeled.orders):
        return "has a ranking of fewer than two completions"
    try:
        for text in [*(each.text for each in labeled.candidates), *(each.text for each in labeled.written)]:
            keepable(text)
    except ValueError as error:
        return f"a completion {error}"
    return ""


def _as_prompt(number: int, labeled: Labeled) -> RawRow:
    return RawRow(number, {**labeled.about, "messages": labeled.messages})


def key_of(project: Project, prompt: str, labeled: Labeled, order: Order, file: str) -> str:
    """Names a ranking by all that it says, so that a file which comes twice is taken once."""
    said = [str(project.id), file, prompt, order.labeler, order.ranks, [each.text for each in labeled.candidates]]
    return "imported:" + hashlib.sha256(repr(said).encode()).hexdigest()


def _written_before(session: Session, project: Project) -> Iterator[tuple[str, str]]:
    query = select(Prompt.content_hash, Demonstration.text).join(Prompt, Prompt.id == Demonstration.prompt_id)
    for row in session.execute(query.where(Prompt.project_id == project.id).execution_options(yield_per=ROWS_AT_ONCE)):
        yield row.content_hash, row.text


def _ranked_before(session: Session, project: Project) -> Iterator[str]:
    query = select(Assignment.submission_key).join(Item, Item.id == Assignment.item_id)
    query = query.join(Batch, Batch.id == Item.batch_id).where(Batch.project_id == project.id)
    imported = query.where(Assignment.submission_key.startswith("imported:", autoescape=True))
    yield from filter(None, session.scalars(imported.execution_options(yield_per=ROWS_AT_ONCE)))
