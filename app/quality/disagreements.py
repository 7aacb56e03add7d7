"""The items whose labelers disagree most, for a lead to decide, and those that are decided."""

import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.labeling.current import is_current
from app.labeling.models import Batch, BatchKind, Item, ItemPurpose, Ranking
from app.projects.models import Project
from app.prompts.models import Prompt
from app.quality.evidence import Evidence, is_of_project, load_evidence
from app.quality.exclusions import is_left_out

SHOWN = 50
THRESHOLDS = (50, 75, 100)  # per cent of comparisons: below this, an item is in the queue
DEFAULT_BELOW = 75
LEAST_JUDGMENTS = 2


@dataclass(frozen=True, slots=True)
class Disagreement:
    """What an item's labelers agree on. Those who say that it can't be ranked agree with no one who ranked it."""

    item_id: uuid.UUID
    labelers: int
    agreed: int
    comparisons: int
    cannot_rank: int
    batch: str = ""
    prompt: str = ""  # its last turn

    @property
    def share(self) -> float:
        return self.agreed / self.comparisons if self.comparisons and not self.cannot_rank else 0.0


@dataclass(frozen=True, slots=True)
class Decided:
    item_id: uuid.UUID
    batch: str
    prompt: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Queue:
    open: list[Disagreement]
    open_total: int
    decided: list[Decided]
    decided_total: int
    items: int  # looked at
    is_capped: bool


def may_be_decided(kind: BatchKind, purpose: ItemPurpose) -> bool:
    """Decisions stand for comparisons to train on; gold and training items have a known answer."""
    return kind == BatchKind.ranking and purpose in (ItemPurpose.ordinary, ItemPurpose.calibration)


def read_queue(session: Session, project: Project, *, below: int = DEFAULT_BELOW) -> Queue:
    """Undecided items on which fewer than `below` per cent of the comparisons agree, the least agreed first."""
    evidence = load_evidence(session, project)
    decided = set(session.scalars(select(Ranking.item_id).where(_decides(project))))
    found = [
        each
        for each in _disagreements(session, project, evidence)
        if each.item_id not in decided and each.share < below / 100
    ]
    found.sort(key=lambda each: (each.share, -each.comparisons, str(each.item_id)))
    return Queue(
        open=_with_prompts(session, found[:SHOWN]),
        open_total=len(found),
        decided=_newest_decisions(session, project),
        decided_total=len(decided),
        items=len(evidence.facets),
        is_capped=evidence.is_capped,
    )


def _disagreements(session: Session, project: Project, evidence: Evidence) -> Iterable[Disagreement]:
    """What labelers agree on, item by item; excluded work takes no part."""
    agreed, total, ranked = Counter[uuid.UUID](), Counter[uuid.UUID](), Counter[uuid.UUID]()
    for each in evidence.judged:
        ranked[each.item_id] += not each.is_excluded
    for meeting in evidence.meetings:
        if not meeting.is_excluded:
            agreed[meeting.item_id] += meeting.agreed
            total[meeting.item_id] += meeting.total
    unranked = _cannot_rank(session, project, evidence)
    for item_id, facet in evidence.facets.items():
        is_split = total[item_id] or (unranked[item_id] and ranked[item_id])
        if is_split and may_be_decided(facet.kind, facet.purpose):
            labelers = ranked[item_id] + unranked[item_id]
            yield Disagreement(item_id, labelers, agreed[item_id], total[item_id], unranked[item_id])


def _cannot_rank(session: Session, project: Project, evidence: Evidence) -> Counter[uuid.UUID]:
    """By item, how many labelers say that it can't be ranked."""
    query = (
        select(Ranking.item_id, func.count())
        .where(Ranking.item_id.in_(list(evidence.facets)), Ranking.cannot_rank, ~Ranking.is_adjudication)
        .where(is_current(Ranking), ~is_left_out(project, Ranking))
        .group_by(Ranking.item_id)
    )
    return Counter({item_id: number for item_id, number in session.execute(query)})  # noqa: C416  rows, not pairs


def _decides(project: Project) -> ColumnElement[bool]:
    """The condition that a ranking is a decision that stands."""
    return and_(Ranking.is_adjudication, is_current(Ranking), is_of_project(project))


def _newest_decisions(session: Session, project: Project) -> list[Decided]:
    newest = select(Ranking.id).where(_decides(project)).order_by(Ranking.created_at.desc(), Ranking.id).limit(SHOWN)
    query = (
        select(Ranking.item_id, Batch.name, Prompt.messages, Person.name, Ranking.created_at)
        .join(Item, Item.id == Ranking.item_id)
        .join(Batch, Batch.id == Item.batch_id)
        .join(Prompt, Prompt.id == Item.prompt_id)
        .join(Person, Person.id == Ranking.person_id)
        .where(Ranking.id.in_(session.scalars(newest).all()))
        .order_by(Ranking.created_at.desc(), Ranking.id)
    )
    return [
        Decided(item_id, batch, str(messages[-1]["content"]), by, at)
        for item_id, batch, messages, by, at in session.execute(query)
    ]


def _with_prompts(session: Session, found: list[Disagreement]) -> list[Disagreement]:
    query = (
        select(Item.id, Batch.name, Prompt.messages)
        .join(Batch, Batch.id == Item.batch_id)
        .join(Prompt, Prompt.id == Item.prompt_id)
        .where(Item.id.in_([each.item_id for each in found]))
    )
    known = {item_id: (name, str(messages[-1]["content"])) for item_id, name, messages in session.execute(query)}
    return [
        Disagreement(each.item_id, each.labelers, each.agreed, each.comparisons, each.cannot_rank, *known[each.item_id])
        for each in found
    ]
