"""Labels from elsewhere become the same rows as our own: prompts, demonstrations, and closed batches of rankings."""

import hashlib
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts import service as accounts
from app.accounts.models import Group, Person, PersonState, Role
from app.core.clock import now
from app.core.db import Base, new_id
from app.datasets.existing.plain import Labeled, Order
from app.datasets.existing.planning import ROWS_AT_ONCE, Plan, Report
from app.datasets.existing.shapes import ReadRow
from app.labeling.models import (
    Assignment,
    AssignmentState,
    Batch,
    BatchKind,
    BatchState,
    Completion,
    Demonstration,
    Item,
    ItemCompletion,
    Ranking,
    RankingPlace,
)
from app.labeling.ranks import dense
from app.labeling.sorting import fix_use_cases
from app.projects import service as projects
from app.projects.models import Project
from app.prompts import service as prompts
from app.prompts.models import Prompt

NOBODY = "imported.touchstone.invalid"
Keyed = tuple[Order, str]  # and what names it, should it come again


def check_labels(session: Session, project: Project, rows: Iterable[ReadRow], *, file: str) -> Report:
    """What taking these rows would do. Changes nothing."""
    return Plan(session, project, rows, file).report


def take_labels(
    session: Session, project: Project, rows: Iterable[ReadRow], *, file: str, by: Person, simulated: bool = False
) -> Report:
    """Takes what is new, each labeler of the file under a name of their own. `simulated`: no person judged."""
    prompts.take_turns(session, project.id)
    plan = Plan(session, project, rows, file)
    prompts.take_checked(session, project, plan.prompts, person=by, source=file)
    writer = _Writer(session, project, file, by, simulated)
    writer.demonstrations(plan.demonstrations)
    writer.rankings(plan.rankings)
    audit.record(session, by, "labels.import", subject=project, file=file, **plan.report.counts)
    return plan.report


class _Writer:
    """Writes one file's labels in this transaction."""

    def __init__(self, session: Session, project: Project, file: str, by: Person, simulated: bool) -> None:
        self.session, self.project, self.file, self.by, self.simulated = session, project, file, by, simulated
        self.time = now()
        query = select(Prompt.content_hash, Prompt.id).where(Prompt.project_id == project.id)
        self.prompts: dict[str, uuid.UUID] = dict(session.execute(query).all())
        self.people: dict[str, uuid.UUID] = {}
        self.batches: dict[int, Batch] = {}
        self.positions: Counter[uuid.UUID] = Counter()
        self.rows: dict[type[Base], list[dict[str, Any]]] = defaultdict(list)

    def demonstrations(self, written: Sequence[tuple[str, str, str]]) -> None:
        for prompt, text, labeler in written:
            self._add(Demonstration, prompt_id=self.prompts[prompt], person_id=self._person(labeler), text=text,
                      source=self.file)  # fmt: skip
        self._flush()

    def rankings(self, ranked: Sequence[tuple[str, Labeled, list[str]]]) -> None:
        """A batch has a prompt once, and an item a labeler once: what comes again goes to the batch's next part."""
        seen: Counter[str] = Counter()
        for prompt, labeled, keys in ranked:
            for orders in _one_each(zip(labeled.orders, keys, strict=True)):
                seen[prompt] += 1
                self._item(self._batch(seen[prompt]), prompt, labeled, orders)
            if len(self.rows[Item]) >= ROWS_AT_ONCE:
                self._flush()
        self._flush()
        for batch in self.batches.values():
            fix_use_cases(self.session, batch)

    def _item(self, batch: Batch, prompt: str, labeled: Labeled, orders: Sequence[Keyed]) -> None:
        batch.overlap = max(batch.overlap, len(orders))
        item, prompt_id, places = new_id(), self.prompts[prompt], [new_id() for _ in labeled.candidates]
        count = len(orders)
        self._add(Item, id=item, batch_id=batch.id, prompt_id=prompt_id, position=self.positions[batch.id],
                  wanted=count, taken=count, got=count)  # fmt: skip
        self.positions[batch.id] += 1
        for position, (candidate, completion) in enumerate(zip(labeled.candidates, places, strict=True)):
            said = {"imported_from": self.file, "model": candidate.model, "score": candidate.score}
            facts = {name: value for name, value in said.items() if value not in ("", None)}
            self._add(Completion, id=completion, prompt_id=prompt_id, number=position, settings=facts,
                      text=candidate.text)  # fmt: skip
            self._add(ItemCompletion, item_id=item, completion_id=completion, position=position)
        for order, key in orders:
            self._ranking(item, places, order, key)

    def _ranking(self, item: uuid.UUID, places: Sequence[uuid.UUID], order: Order, key: str) -> None:
        assignment, ranking, person = new_id(), new_id(), self._person(order.labeler)
        self._add(Assignment, id=assignment, item_id=item, person_id=person, state=AssignmentState.submitted,
                  lease_until=self.time, shown_order=[str(place) for place in places], submitted_at=self.time,
                  submission_key=key, group=Group.training)  # fmt: skip
        self._add(Ranking, id=ranking, assignment_id=assignment, item_id=item, person_id=person, note=order.note,
                  all_bad=order.all_bad)  # fmt: skip
        ranks = {place: rank for place, rank in zip(places, order.ranks, strict=True) if rank is not None}
        for place, rank in dense(ranks).items():
            self._add(RankingPlace, ranking_id=ranking, completion_id=place, rank=rank)

    def _batch(self, part: int) -> Batch:
        if part not in self.batches:
            name = self.file if part == 1 else f"{self.file}, part {part}"
            batch = Batch(project_id=self.project.id, round_id=projects.current_round(self.session, self.project).id,
                          name=name, kind=BatchKind.ranking, state=BatchState.closed, overlap=1)  # fmt: skip
            self.session.add(batch)
            self.session.flush()
            self.batches[part] = batch
        return self.batches[part]

    def _person(self, labeler: str) -> uuid.UUID:
        if labeler not in self.people:
            said = f"{self.project.id}:{self.file}:{labeler}"
            email = f"{hashlib.sha256(said.encode()).hexdigest()[:20]}@{NOBODY}"
            person = self.session.scalar(select(Person).where(Person.email == email))
            self.people[labeler] = (person or self._new_person(email, labeler)).id
        return self.people[labeler]

    def _new_person(self, email: str, labeler: str) -> Person:
        """Nobody signs in as them: they have no password and are paused."""
        name = f"{labeler[:60] or 'unknown'} of {self.file}"
        person = accounts.add_person(self.session, email, name=name, role=Role.labeler, by=self.by,
                                     is_simulated=self.simulated)  # fmt: skip
        person.state = PersonState.paused
        self.session.flush()
        return person

    def _add(self, kind: type[Base], **columns: Any) -> None:
        self.rows[kind].append(columns)

    def _flush(self) -> None:
        for kind in (Demonstration, Item, Completion, ItemCompletion, Assignment, Ranking, RankingPlace):
            if self.rows[kind]:
                self.session.execute(insert(kind), self.rows.pop(kind))
        self.session.flush()


def _one_each(orders: Iterable[Keyed]) -> Iterator[list[Keyed]]:
    """The orders in groups in which no labeler is twice."""
    groups: list[dict[str, Keyed]] = []
    for order, key in orders:
        group = next((group for group in groups if order.labeler not in group), None)
        if group is None:
            groups.append(group := {})
        group[order.labeler] = (order, key)
    return (list(group.values()) for group in groups)
