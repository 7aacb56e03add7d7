"""The people of the current round, for the overview."""

from collections import defaultdict
from dataclasses import dataclass
from statistics import median

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.labeling.models import Assignment, AssignmentState, Batch, BatchKind, Item
from app.projects import service as projects
from app.projects.models import Project


@dataclass(frozen=True, slots=True)
class LabelerLine:
    name: str
    is_simulated: bool
    rankings: int
    median_seconds: float
    agreement: str


def of_round(session: Session, project: Project) -> list[LabelerLine]:
    """Who ranked in the current round, the busiest first."""
    turn = projects.current_round(session, project)
    query = (
        select(Person, Assignment.active_seconds)
        .join(Assignment, Assignment.person_id == Person.id)
        .join(Item, Item.id == Assignment.item_id)
        .join(Batch, Batch.id == Item.batch_id)
        .where(Batch.round_id == turn.id, Batch.kind.in_([BatchKind.ranking, BatchKind.evaluation]),
               Assignment.state == AssignmentState.submitted)
    )  # fmt: skip
    seconds: dict[Person, list[int]] = defaultdict(list)
    for person, active in session.execute(query):
        seconds[person].append(active)
    lines = [LabelerLine(person.name, person.is_simulated, len(times), median(times), "–")
             for person, times in seconds.items()]  # fmt: skip
    return sorted(lines, key=lambda line: (-line.rankings, line.name))
