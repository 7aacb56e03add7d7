"""What of a file of labels is new, what is there already, and what can't be taken."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.storable import storable
from app.datasets.existing.plain import Labeled, Written
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
        self.rankings: list[tuple[str, Labeled, list[str]]] = []  # and the key of each of its orders
        self._written = Counter(_written_before(session, project))
        self._written_here: set[tuple[str, str, str]] = set()
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
                  "completions": sum(len(labeled.candidates) for _, labeled, _ in self.rankings),
                  "known": self._known}  # fmt: skip
        self.report = Report(taken, [part for part in judged_parts if part.problem], counts)

    def _sort(self, labeled: Labeled | None, project: Project, file: str) -> None:
        assert labeled is not None
        prompt = content_hash(labeled.messages)
        for written in labeled.written:
            if self._is_new_text(prompt, written):
                self.demonstrations.append((prompt, written.text, written.labeler))
        keys = keys_of(project, prompt, labeled, file)
        fresh = [(order, key) for order, key in zip(labeled.orders, keys, strict=True) if key not in self._ranked]
        self._ranked.update(keys)
        self._known += len(keys) - len(fresh)
        if fresh:
            labeled = replace(labeled, orders=tuple(order for order, _ in fresh))
            self.rankings.append((prompt, labeled, [key for _, key in fresh]))

    def _is_new_text(self, prompt: str, written: Written) -> bool:
        """Two labelers may write the very same; what is here already stands for one of them, whoever that was."""
        said = (prompt, written.text)
        is_known = (*said, written.labeler) in self._written_here or self._written[said] > 0
        if (*said, written.labeler) not in self._written_here:
            self._written[said] -= 1
        self._written_here.add((*said, written.labeler))
        self._known += is_known
        return not is_known

    def _orders(self) -> int:
        return sum(len(labeled.orders) for _, labeled, _ in self.rankings)


def _parts(row: ReadRow) -> Iterator[Taken]:
    """What a row says of each of its prompts: labelers without a name get one, and what cannot be kept is said."""
    if row.problem:
        yield Taken(row.number, problem=row.problem)
    for labeled in row.labeled:
        problem = _problem(labeled)
        orders = tuple(
            replace(order, labeler=storable(order.labeler) or f"annotator {place}", note=storable(order.note))
            for place, order in enumerate(labeled.orders, start=1)
        )
        written = tuple(replace(each, labeler=storable(each.labeler)) for each in labeled.written)
        candidates = tuple(replace(each, model=storable(each.model)) for each in labeled.candidates)
        kept = replace(labeled, orders=orders, written=written, candidates=candidates)
        yield Taken(row.number, None if problem else kept, problem)


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


def keys_of(project: Project, prompt: str, labeled: Labeled, file: str) -> list[str]:
    """Names each ranking by all that it says, so that a file which comes twice is taken once; of one row also by how
    often its labeler has said the same before."""
    said_before: Counter[tuple[object, ...]] = Counter()
    keys = []
    for order in labeled.orders:
        texts, judgement = [each.text for each in labeled.candidates], (order.labeler, order.ranks)
        said = [str(project.id), file, prompt, *judgement, texts, said_before[judgement]]
        said_before[judgement] += 1
        keys.append("imported:" + hashlib.sha256(repr(said).encode()).hexdigest())
    return keys


def _written_before(session: Session, project: Project) -> Iterator[tuple[str, str]]:
    query = select(Prompt.content_hash, Demonstration.text).join(Prompt, Prompt.id == Demonstration.prompt_id)
    for row in session.execute(query.where(Prompt.project_id == project.id).execution_options(yield_per=ROWS_AT_ONCE)):
        yield row.content_hash, row.text


def _ranked_before(session: Session, project: Project) -> Iterator[str]:
    query = select(Assignment.submission_key).join(Item, Item.id == Assignment.item_id)
    query = query.join(Batch, Batch.id == Item.batch_id).where(Batch.project_id == project.id)
    imported = query.where(Assignment.submission_key.startswith("imported:", autoescape=True))
    yield from filter(None, session.scalars(imported.execution_options(yield_per=ROWS_AT_ONCE)))
