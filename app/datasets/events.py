"""What happened at the desk, event by event, under pseudonyms: for studies of time, order, skipping and correcting.

Not a snapshot: events go on happening, and nothing is trained on them. Held-out labelers' are among them.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.db import reading
from app.datasets.gathering import pseudonym
from app.datasets.rows import Row
from app.labeling.models import Assignment, AssignmentState, Batch, Demonstration, Item, Ranking, Report
from app.projects.models import Project

ITEMS_AT_ONCE = 500


def events_of(project: Project) -> Iterator[Row]:
    """Batch by batch and item by item, the oldest first; of an item, in the order of time. Each part is read in a
    session of its own, so that a slow download holds none."""
    with reading() as session:
        query = select(Batch.id, Batch.kind).where(Batch.project_id == project.id).order_by(Batch.id)
        batches = [(batch_id, kind.value) for batch_id, kind in session.execute(query)]
    for batch_id, kind in batches:
        after: int | None = -1
        while after is not None:
            with reading() as session:
                rows, after = _events_after(session, project, batch_id, kind, after)
            yield from rows


def _events_after(
    session: Session, project: Project, batch_id: uuid.UUID, kind: str, after: int
) -> tuple[list[Row], int | None]:
    """The events of the batch's next items, and where those behind them begin."""
    query = select(Item).where(Item.batch_id == batch_id, Item.position > after).order_by(Item.position)
    items = {item.id: item for item in session.scalars(query.limit(ITEMS_AT_ONCE))}
    found: defaultdict[uuid.UUID, list[Row]] = defaultdict(list)
    for event, at, person_id, item_id, facts in _happened(session, list(items)):
        item = items[item_id]
        found[item_id].append({
            "event": event, "at": at, "labeler": pseudonym(project.id, person_id), "batch": str(batch_id), "kind": kind,
            "item": str(item_id), "purpose": item.purpose.value, "prompt_id": str(item.prompt_id), **facts,
        })  # fmt: skip
    rows = [row for item_id in items for row in sorted(found[item_id], key=lambda row: row["at"])]
    last = next(reversed(items.values())).position if len(items) == ITEMS_AT_ONCE else None
    return rows, last


_Happened = Iterator[tuple[str, datetime, uuid.UUID, uuid.UUID, dict[str, Any]]]


def _happened(session: Session, items: Sequence[uuid.UUID]) -> _Happened:
    assignments = {each.id: each for each in session.scalars(select(Assignment).where(Assignment.item_id.in_(items)))}
    for assignment in assignments.values():
        who = (assignment.person_id, assignment.item_id)
        yield "taken", assignment.created_at, *who, {"shown_order": assignment.shown_order}
        if assignment.state == AssignmentState.skipped and assignment.skipped_at:
            yield "skipped", assignment.skipped_at, *who, {"reason": assignment.skip_reason}
    rankings = select(Ranking).where(Ranking.item_id.in_(items))
    written = select(Demonstration).where(Demonstration.assignment_id.in_(list(assignments)))
    for label in [*session.scalars(rankings), *session.scalars(written)]:
        assert label.assignment_id is not None, "asked for by assignment"
        assignment = assignments[label.assignment_id]
        yield _handed_in(label), label.created_at, label.person_id, assignment.item_id, _facts(label, assignment)
    for report in session.scalars(select(Report).where(Report.item_id.in_(items))):
        assert report.item_id is not None, "asked for by item"
        yield report.kind.value, report.created_at, report.person_id, report.item_id, {"reason": report.reason}


def _handed_in(label: Ranking | Demonstration) -> str:
    if isinstance(label, Ranking) and label.is_adjudication:
        return "decided"
    return "amended" if label.supersedes_id else "submitted"


def _facts(label: Ranking | Demonstration, assignment: Assignment) -> dict[str, Any]:
    facts: dict[str, Any] = {"label_id": str(label.id), "active_seconds": assignment.active_seconds}
    if isinstance(label, Ranking):
        return facts | {"cannot_rank": label.cannot_rank, "all_bad": label.all_bad,
                        "order_touched": label.order_touched, "comparisons": label.comparisons}  # fmt: skip
    return facts | {"characters": len(label.text), "pasted_characters": label.pasted_characters}
