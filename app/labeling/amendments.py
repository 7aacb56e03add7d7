"""Corrections: for a while after submitting, a labeler may hand in anew. A row that supersedes; the first one stays."""

import uuid
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.core.clock import now
from app.core.errors import Conflict
from app.labeling.bench import (
    IS_OWN,
    Bench,
    Receipt,
    letters_of,
    newest_label,
    no_such_assignment,
    open_bench,
    own_assignment,
    receipt,
)
from app.labeling.current import is_decision
from app.labeling.leases import lock_person
from app.labeling.models import Assignment, AssignmentState, Demonstration, Item, ItemPurpose, Ranking, RankingPlace
from app.labeling.models import Rating as RatingRow
from app.labeling.schemas import Amendment
from app.labeling.submissions import check_demonstration, check_ranking, store_demonstration, store_ranking
from app.projects.models import Project
from app.projects.settings import settings_of


def amendable_until(assignment: Assignment, project: Project, *, purpose: ItemPurpose) -> datetime | None:
    """Until when a submission may be corrected; none if it may not. An answer whose solution was shown stays."""
    minutes = settings_of(project).amend_minutes
    if assignment.state != AssignmentState.submitted or assignment.submitted_at is None or not minutes:
        return None
    return None if purpose == ItemPurpose.training else assignment.submitted_at + timedelta(minutes=minutes)


_WITH_PURPOSE = select(Assignment, Item.purpose, is_decision()).join(Item, Item.id == Assignment.item_id)
# Asked for with each next item, for the receipt of the one before.
_OWN_WITH_PURPOSE = _WITH_PURPOSE.where(*IS_OWN)


def own_and_amendable(
    session: Session, person: Person, assignment_id: uuid.UUID, project: Project
) -> tuple[Assignment, bool]:
    """The person's assignment, and whether it can be amended now."""
    row = session.execute(_OWN_WITH_PURPOSE, {"assignment_id": assignment_id, "person_id": person.id}).first()
    if row is None:
        raise no_such_assignment()
    return row[0], _can_amend(project, *row)


def can_amend(session: Session, assignment: Assignment, project: Project) -> bool:
    return _can_amend(project, *session.execute(_WITH_PURPOSE.where(Assignment.id == assignment.id)).one())


def _can_amend(project: Project, assignment: Assignment, purpose: ItemPurpose, is_leads: bool) -> bool:
    """A lead's decision of a disagreement is taken back where it was made, not here."""
    until = amendable_until(assignment, project, purpose=purpose)
    return not is_leads and until is not None and until > now()


def amend(session: Session, person: Person, assignment_id: uuid.UUID, sent: Amendment) -> Receipt:
    """Store a correction of what `sent.amends` names. Sent twice, it is stored once."""
    lock_person(session, person)
    assignment = own_assignment(session, person, assignment_id, lock=True)
    bench = open_bench(session, person, assignment_id)
    newest = newest_label(session, assignment)
    if newest is None:
        raise Conflict("You have not submitted this item yet.", mend="Submit it first.")
    if bench.is_ranking:
        check_ranking(bench, sent)
    else:
        check_demonstration(sent)
    if newest.id != sent.amends:
        return _seen_before(session, assignment, newest, bench, sent)
    if not can_amend(session, assignment, bench.project):
        minutes = settings_of(bench.project).amend_minutes
        raise Conflict(
            f"This can be corrected for {minutes} minutes after submitting, and that time is over."
            if minutes
            else "In this project submissions can't be corrected.",
            mend="What you had submitted counts as it is. Tell the project's leads if it is wrong.",
        )
    if stored_as_draft(session, assignment) != _as_draft(bench, sent):
        store = store_ranking if bench.is_ranking else store_demonstration
        store(session, bench, sent, supersedes_id=newest.id)
    session.flush()
    stored = receipt(session, assignment)
    assert stored is not None, "an amended assignment has its rows"
    return stored


def _seen_before(
    session: Session, assignment: Assignment, newest: Ranking | Demonstration, bench: Bench, sent: Amendment
) -> Receipt:
    """The same correction come again is stored already; another one was made of something that no longer counts."""
    again = newest.supersedes_id == sent.amends and stored_as_draft(session, assignment) == _as_draft(bench, sent)
    stored = receipt(session, assignment)
    if again and stored is not None:
        return stored
    raise Conflict(
        f"Meanwhile you have corrected this item elsewhere: {stored.words if stored else ''}.",
        mend="Reload the page to see what counts now, and correct that.",
    )


def stored_as_draft(session: Session, assignment: Assignment) -> dict[str, Any]:
    """What counts now of this assignment, in the shape in which a draft is kept, ranks dense."""
    newest = newest_label(session, assignment)
    if isinstance(newest, Demonstration):
        return {"text": newest.text, "pasted_characters": newest.pasted_characters}
    if newest is None:
        return {}
    letters = {completion_id: letter for letter, completion_id in letters_of(assignment).items()}
    places = select(RankingPlace.completion_id, RankingPlace.rank).where(RankingPlace.ranking_id == newest.id)
    ratings = session.scalars(select(RatingRow).where(RatingRow.ranking_id == newest.id))
    return {
        "ranks": {letters[completion]: rank for completion, rank in session.execute(places)},
        "ratings": {
            letters[each.completion_id]: {"likert": each.likert, "flags": each.flags, "note": each.note}
            for each in ratings
        },
        "note": newest.note,
        "cannot_rank": newest.cannot_rank,
        "all_bad": newest.all_bad,
    }


def how_it_came_about(newest: Ranking | Demonstration, assignment: Assignment) -> dict[str, Any]:
    """What a correction takes over of how its ranks were found: whether by hand, and the answers of compare mode."""
    if isinstance(newest, Demonstration):
        return {}
    answers = (assignment.draft or {}).get("compared", [])
    return {"order_touched": newest.order_touched, "compared": answers if newest.comparisons == len(answers) else []}


def _as_draft(bench: Bench, sent: Amendment) -> dict[str, Any]:
    """What was sent in the shape of `stored_as_draft`."""
    if not bench.is_ranking:
        return {"text": sent.text.strip(), "pasted_characters": sent.pasted_characters}
    return sent.as_stored()
