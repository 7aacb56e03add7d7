"""Work that a lead leaves out of new snapshots: all of a person's, or from and until a day. The labels stay."""

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, exists, func, or_, select
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import Person
from app.core.clock import now
from app.core.errors import Conflict, Invalid, NotFound
from app.core.storable import storable
from app.labeling.current import is_current
from app.labeling.models import Assignment, Batch, Demonstration, Item, Ranking
from app.projects.models import Project
from app.prompts.models import Prompt
from app.quality.models import Exclusion

LONGEST_REASON = 2000


def exclude(
    session: Session,
    project: Project,
    person: Person,
    *,
    reason: str,
    labels_from: datetime | None = None,
    labels_until: datetime | None = None,
    by: Person,
) -> Exclusion:
    """Leave the person's labels made from then and before then (none: all) out of new snapshots."""
    reason = storable(reason).strip()
    if not reason:
        raise Invalid("Please say why this work is left out.", fields={"reason": "Write a reason."})
    if len(reason) > LONGEST_REASON:
        raise Invalid("The reason is too long.", fields={"reason": f"Use up to {LONGEST_REASON} characters."})
    if labels_from and labels_until and labels_from >= labels_until:
        raise Invalid("The first day comes after the last.", fields={"last_day": "Choose a later day."})
    if any((each.labels_from, each.labels_until) == (labels_from, labels_until)
           for each in standing_exclusions(session, project) if each.person_id == person.id):  # fmt: skip
        raise Conflict("This work is left out already.", mend="Lift that exclusion first to give another reason.")
    exclusion = Exclusion(
        project_id=project.id,
        person_id=person.id,
        reason=reason,
        labels_from=labels_from,
        labels_until=labels_until,
        by_id=by.id,
    )
    session.add(exclusion)
    session.flush()
    moments = {"labels_from": labels_from, "labels_until": labels_until}
    said = {name: moment.isoformat() for name, moment in moments.items() if moment}
    audit.record(session, by, "exclusion.set", subject=exclusion, labeler=str(person.id), reason=reason, **said)
    return exclusion


def lift(session: Session, project: Project, exclusion_id: uuid.UUID, *, by: Person) -> Exclusion:
    """The labels count again in new snapshots. Lifting twice changes nothing."""
    exclusion = session.get(Exclusion, exclusion_id)
    if exclusion is None or exclusion.project_id != project.id:
        raise NotFound("There is no such exclusion in this project.")
    if exclusion.lifted_at is None:
        exclusion.lifted_at, exclusion.lifted_by_id = now(), by.id
        session.flush()
        audit.record(session, by, "exclusion.lift", subject=exclusion, labeler=str(exclusion.person_id))
    return exclusion


def exclusions_of(session: Session, project: Project, person: Person) -> list[Exclusion]:
    """All of a person's, lifted ones too, newest first."""
    query = select(Exclusion).where(Exclusion.project_id == project.id, Exclusion.person_id == person.id)
    return list(session.scalars(query.order_by(Exclusion.created_at.desc())))


def standing_exclusions(session: Session, project: Project) -> list[Exclusion]:
    query = select(Exclusion).where(Exclusion.project_id == project.id, Exclusion.lifted_at.is_(None))
    return list(session.scalars(query.order_by(Exclusion.created_at)))


def covers(exclusion: Exclusion, person_id: uuid.UUID, made: datetime) -> bool:
    """Whether a label that this person made then is left out."""
    begins, ends = exclusion.labels_from, exclusion.labels_until
    return exclusion.person_id == person_id and (not begins or begins <= made) and (not ends or made < ends)


def is_left_out(project: Project, label: type[Demonstration] | type[Ranking]) -> ColumnElement[bool]:
    """The condition that a standing exclusion covers a query's demonstration or ranking."""
    return exists().where(
        Exclusion.project_id == project.id,
        Exclusion.lifted_at.is_(None),
        Exclusion.person_id == label.person_id,
        or_(Exclusion.labels_from.is_(None), Exclusion.labels_from <= label.created_at),
        or_(Exclusion.labels_until.is_(None), Exclusion.labels_until > label.created_at),
    )


def count_left_out(session: Session, project: Project, person: Person) -> tuple[int, int]:
    """How many of a person's rankings and demonstrations standing exclusions cover."""
    if all(each.person_id != person.id for each in standing_exclusions(session, project)):
        return 0, 0
    rankings = (
        select(func.count())
        .select_from(Assignment)
        .join(Ranking, (Ranking.item_id == Assignment.item_id) & (Ranking.assignment_id == Assignment.id))
        .join(Item, Item.id == Assignment.item_id)
        .join(Batch, Batch.id == Item.batch_id)
        .where(Assignment.person_id == person.id, Batch.project_id == project.id)
        .where(is_current(Ranking), is_left_out(project, Ranking))
    )
    demonstrations = (
        select(func.count())
        .select_from(Demonstration)
        .where(Demonstration.person_id == person.id)
        .where(exists().where(Prompt.id == Demonstration.prompt_id, Prompt.project_id == project.id))
        .where(is_current(Demonstration), is_left_out(project, Demonstration))
    )
    return session.scalar(rankings) or 0, session.scalar(demonstrations) or 0


def is_covered(exclusions: Sequence[Exclusion], person_id: uuid.UUID, made: datetime) -> bool:
    return any(covers(each, person_id, made) for each in exclusions)
