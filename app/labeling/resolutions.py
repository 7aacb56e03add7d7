"""What labelers reported of a batch, and the lead's word on it."""

import uuid
from dataclasses import dataclass

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import Person
from app.core.clock import now
from app.core.errors import Conflict, Invalid, NotFound
from app.labeling.models import Batch, BatchState, Report, ReportKind
from app.projects.models import Project

LONGEST_WORD = 2000


@dataclass(frozen=True, slots=True)
class Reported:
    report: Report
    by: Person
    resolved_by: str | None = None

    @property
    def is_stop_cord(self) -> bool:
        return self.report.kind == ReportKind.stop_cord


def _reports() -> Select[Report, Person]:
    return select(Report, Person).join(Person, Person.id == Report.person_id).order_by(Report.created_at.desc())


def reports_of(session: Session, batch: Batch) -> list[Reported]:
    """Those that wait for a word first, stop cords before problems, then the resolved ones; newest first."""
    rows = session.execute(_reports().where(Report.batch_id == batch.id)).all()
    leads = {report.resolved_by_id for report, _ in rows if report.resolved_by_id}
    names = {each.id: each.name for each in session.scalars(select(Person).where(Person.id.in_(leads)))}
    found = [
        Reported(report, person, names.get(report.resolved_by_id) if report.resolved_by_id else None)
        for report, person in rows
    ]
    return sorted(found, key=lambda each: (each.report.resolved_at is not None, not each.is_stop_cord))


def stop_cords(session: Session, project: Project) -> dict[uuid.UUID, Reported]:
    """The paused batches of a project that a stop cord holds: who pulled it last, and why."""
    query = (
        _reports()
        .join(Batch, Batch.id == Report.batch_id)
        .where(Batch.project_id == project.id, Batch.state == BatchState.paused)
        .where(Report.kind == ReportKind.stop_cord, Report.resolved_at.is_(None))
    )
    found: dict[uuid.UUID, Reported] = {}
    for report, person in session.execute(query):
        found.setdefault(report.batch_id, Reported(report, person))
    return found


def count_open_reports(session: Session, project: Project) -> dict[uuid.UUID, int]:
    """How many reports of each batch wait for a lead's word."""
    query = select(Report.batch_id).where(Report.project_id == project.id, Report.resolved_at.is_(None))
    found: dict[uuid.UUID, int] = {}
    for batch_id in session.scalars(query):
        found[batch_id] = found.get(batch_id, 0) + 1
    return found


def resolve_report(session: Session, batch: Batch, report_id: uuid.UUID, words: str, *, by: Person) -> Report:
    """Close a report with a word on what was done. A batch that it paused stays so until someone reopens it."""
    query = select(Report).where(Report.id == report_id, Report.batch_id == batch.id).with_for_update()
    report = session.scalar(query)
    if report is None:
        raise NotFound("There is no such report on this batch.")
    if report.resolved_at is not None:
        raise Conflict("This report was resolved already.", mend="Reload the page to see by whom.")
    words = words.strip()[:LONGEST_WORD]
    if not words:
        raise Invalid("Please say what was done about it.", mend="A word is enough; the labeler can read it.",
                      fields={"resolution": "Still empty."})  # fmt: skip
    report.resolution, report.resolved_at, report.resolved_by_id = words, now(), by.id
    audit.record(session, by, "report.resolve", subject=report, batch=str(batch.id), words=words)
    session.flush()
    return report
