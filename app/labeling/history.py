"""What a labeler submitted and skipped, newest first: to look back, to search, and to correct while it may be."""

import json
import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, String, and_, cast, exists, or_, select
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.core.clock import now
from app.core.errors import Invalid
from app.labeling.amendments import amendable_until
from app.labeling.bench import receipt
from app.labeling.current import is_decision
from app.labeling.models import Assignment, AssignmentState, Batch, BatchKind, Demonstration, Item, Ranking
from app.projects.models import Project
from app.prompts.models import Prompt

PAGE = 30
LONGEST_SEARCH = 200


@dataclass(frozen=True, slots=True)
class Entry:
    assignment: Assignment
    kind: BatchKind
    prompt: str  # its last turn
    words: str  # what counts of it; why it was skipped
    amend_until: datetime | None  # none: it can't be corrected (any more)


@dataclass(frozen=True, slots=True)
class History:
    entries: list[Entry]
    older: str | None  # where the next page starts


def own_history(session: Session, person: Person, project: Project, *, search: str = "", before: str = "") -> History:
    """A page of the person's own work in this project; `search` looks in prompts, notes and demonstrations."""
    query = (
        select(Assignment, Item.purpose, Batch.kind, Prompt.messages)
        .join(Item, Item.id == Assignment.item_id)
        .join(Batch, Batch.id == Item.batch_id)
        .join(Prompt, Prompt.id == Item.prompt_id)
        .where(Assignment.person_id == person.id, Batch.project_id == project.id)
        .where(Assignment.state.in_([AssignmentState.submitted, AssignmentState.skipped]), ~is_decision())
    )
    if search.strip():
        query = query.where(_speaks_of(search.strip()[:LONGEST_SEARCH]))
    if before:
        query = query.where(_begun_before(before))
    rows = session.execute(query.order_by(Assignment.created_at.desc(), Assignment.id.desc()).limit(PAGE + 1)).all()
    entries = []
    for assignment, purpose, kind, messages in rows[:PAGE]:
        stored = receipt(session, assignment)
        until = amendable_until(assignment, project, purpose=purpose)
        entries.append(
            Entry(
                assignment=assignment,
                kind=kind,
                prompt=str(messages[-1]["content"]),
                words=stored.words if stored else f"skipped: {assignment.skip_reason}",
                amend_until=until if until and until > now() else None,
            )
        )
    last = rows[PAGE - 1][0] if len(rows) > PAGE else None
    return History(entries, f"{last.created_at.isoformat()}~{last.id}" if last else None)


def _speaks_of(search: str) -> ColumnElement[bool]:
    in_json = json.dumps(search)[1:-1]  # messages are kept as JSON, where quotes and all beyond ASCII are escaped
    noted = exists().where(Ranking.assignment_id == Assignment.id, Ranking.item_id == Assignment.item_id,
                           Ranking.note.icontains(search, autoescape=True))  # fmt: skip
    written = exists().where(
        Demonstration.assignment_id == Assignment.id, Demonstration.text.icontains(search, autoescape=True)
    )
    return or_(cast(Prompt.messages, String).icontains(in_json, autoescape=True), noted, written)


def _begun_before(place: str) -> ColumnElement[bool]:
    """Of what was begun before the last entry of a page; `place` is as `History.older` gives it."""
    moment, _, assignment_id = place.partition("~")
    try:
        at, last = datetime.fromisoformat(moment), uuid.UUID(assignment_id)
    except ValueError as error:
        raise Invalid("There is no such page of your history.", mend="Start from its first page.") from error
    if at.tzinfo is None:
        raise Invalid("There is no such page of your history.", mend="Start from its first page.")
    return or_(Assignment.created_at < at, and_(Assignment.created_at == at, Assignment.id < last))
