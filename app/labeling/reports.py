"""A labeler's word that something is wrong: with one item, or with a whole batch, which then stops for everyone."""

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import Person
from app.core.errors import Conflict
from app.labeling.bench import own_assignment
from app.labeling.leases import lock_person
from app.labeling.models import Batch, BatchState, Item, Report, ReportKind
from app.labeling.schemas import Report as ReportSent
from app.webhooks import letters
from app.webhooks.models import Event, LetterKind
from app.webhooks.service import publish


def report(session: Session, person: Person, assignment_id: uuid.UUID, sent: ReportSent) -> Report:
    """Keep it for the leads. A stop cord pauses the batch; drafts are kept, and who holds an item may still submit."""
    lock_person(session, person)
    assignment = own_assignment(session, person, assignment_id)
    batch = session.scalars(
        select(Batch).join(Item, Item.batch_id == Batch.id).where(Item.id == assignment.item_id)
    ).one()
    if sent.kind == ReportKind.stop_cord and batch.state == BatchState.closed:
        raise Conflict("This batch is closed already.", mend="Report the item instead.")
    made = Report(
        project_id=batch.project_id,
        batch_id=batch.id,
        item_id=assignment.item_id,
        person_id=person.id,
        kind=sent.kind,
        reason=sent.reason,
        details=sent.details,
    )
    session.add(made)
    session.flush()
    details = {"reason": sent.reason}
    if sent.kind == ReportKind.stop_cord and batch.state == BatchState.open:
        batch.state = BatchState.paused
        audit.record(session, person, "batch.stop_cord", subject=batch, **details)
        publish(session, batch.project_id, Event.batch_stopped, id=batch.id, name=batch.name, reason=sent.reason)
        letters.write(session, batch.project_id, LetterKind.batch_stopped, subject=f"“{batch.name}” was stopped",
                      text=f"A labeler pulled the stop cord: {sent.reason}. Nobody gets items of this batch until it "
                           "goes on.", path=f"/labeling/batches/{batch.id}")  # fmt: skip
    else:
        audit.record(session, person, f"report.{sent.kind.value}", subject=batch, **details)
    session.flush()
    return made
