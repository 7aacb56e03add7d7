"""Screening as in the paper (section B.1): what candidates' answers tell against ours, and what the admin decides."""

import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts import service as accounts
from app.accounts.models import Group, Person, PersonState, Role
from app.core.errors import Conflict, Invalid, NotFound
from app.labeling.answers import compare_ranks
from app.labeling.current import is_current
from app.labeling.models import (
    Assignment,
    AssignmentState,
    Batch,
    BatchKind,
    Demonstration,
    DemonstrationGrade,
    Item,
    Ranking,
    RankingPlace,
    Rating,
    SelfAssessment,
)
from app.labeling.questions import sensitive_flags
from app.projects.models import Project, ProjectMember, RatingSchema
from app.prompts.models import Prompt

# The paper's soft cut-offs: marks for the eye, not rules. The fourth criterion, self-assessment, has none.
FLAGS_CUT, RANKINGS_CUT, GRADE_CUT = 0.75, 0.75, 6.0


class Decision(StrEnum):
    training = "training"
    held_out = "held_out"
    declined = "declined"


@dataclass(slots=True)
class Share:
    """So many of so many."""

    same: int = 0
    of: int = 0

    @property
    def value(self) -> float | None:
        return self.same / self.of if self.of else None

    def add(self, same: int, of: int) -> None:
        self.same += same
        self.of += of


@dataclass(frozen=True, slots=True)
class Written:
    demonstration: Demonstration
    item_id: uuid.UUID
    grade: int | None


@dataclass(slots=True)
class Candidate:
    person: Person
    wanted: int = 0
    submitted: int = 0
    skipped: int = 0
    flags: Share = field(default_factory=Share)
    rankings: Share = field(default_factory=Share)
    written: list[Written] = field(default_factory=list)
    assessment: dict[str, Any] | None = None

    @property
    def grade(self) -> float | None:
        """The paper's demonstration score: the mean of the grades given."""
        grades = [each.grade for each in self.written if each.grade is not None]
        return sum(grades) / len(grades) if grades else None

    @property
    def ungraded(self) -> int:
        return sum(each.grade is None for each in self.written)

    def figures(self) -> dict[str, Any]:
        return {"flags": self.flags.value, "rankings": self.rankings.value, "grade": self.grade}


def _screenings(project: Project) -> ColumnElement[bool]:
    return (Batch.project_id == project.id) & (Batch.kind == BatchKind.screening)


def candidates(session: Session, project: Project) -> list[Candidate]:
    """Whoever is to be screened here, then whoever was."""
    is_member = exists().where(ProjectMember.project_id == project.id, ProjectMember.person_id == Person.id)
    # From the screenings to who took part, and not from everyone through all that they ever labeled.
    took_part = Person.id.in_(
        select(Assignment.person_id)
        .join(Item, Item.id == Assignment.item_id)
        .join(Batch, Batch.id == Item.batch_id)
        .where(_screenings(project), Assignment.state == AssignmentState.submitted)
    )
    waiting = (Person.state == PersonState.screening) & is_member & (Person.role == Role.labeler)
    people = session.scalars(select(Person).where(or_(waiting, took_part)).order_by(Person.created_at, Person.id))
    found = _measured(session, project, people)
    return sorted(found, key=lambda each: each.person.state != PersonState.screening)


def candidate(session: Session, project: Project, person_id: uuid.UUID) -> Candidate:
    found = [each for each in candidates(session, project) if each.person.id == person_id]
    if not found:
        raise NotFound("There is no such candidate in this project.")
    return found[0]


def _measured(session: Session, project: Project, people: Iterable[Person]) -> list[Candidate]:
    wanted = len(
        session.scalars(select(Item.id).join(Batch, Batch.id == Item.batch_id).where(_screenings(project))).all()
    )
    found = {person.id: Candidate(person, wanted) for person in people}
    query = (
        select(Assignment)
        .join(Item, Item.id == Assignment.item_id)
        .join(Batch, Batch.id == Item.batch_id)
        .where(_screenings(project), Assignment.person_id.in_(found))
    )
    for assignment in session.scalars(query):
        found[assignment.person_id].submitted += assignment.state == AssignmentState.submitted
        found[assignment.person_id].skipped += assignment.state == AssignmentState.skipped
    _compare_with_ours(session, project, found)
    _collect_written(session, project, found)
    assessments = select(SelfAssessment).where(
        SelfAssessment.project_id == project.id, SelfAssessment.person_id.in_(found)
    )
    for assessment in session.scalars(assessments):
        found[assessment.person_id].assessment = assessment.answers
    return list(found.values())


def _compare_with_ours(session: Session, project: Project, found: dict[uuid.UUID, Candidate]) -> None:
    """Rankings by the pairs that we order; flags by whether a completion has any sensitive one, as in the paper, where
    any was asked."""
    query = (
        select(Ranking, Item.gold, RatingSchema.fields, Prompt.use_case)
        .join(Item, Item.id == Ranking.item_id)
        .join(Prompt, Prompt.id == Item.prompt_id)
        .join(Batch, Batch.id == Item.batch_id)
        .outerjoin(RatingSchema, RatingSchema.id == Batch.rating_schema_id)
        .where(_screenings(project), Ranking.person_id.in_(found), is_current(Ranking))
    )
    ids = query.with_only_columns(Ranking.id)
    ranks: defaultdict[uuid.UUID, dict[str, int]] = defaultdict(dict)
    for place in session.scalars(select(RankingPlace).where(RankingPlace.ranking_id.in_(ids))):
        ranks[place.ranking_id][str(place.completion_id)] = place.rank
    flags: defaultdict[uuid.UUID, dict[str, set[str]]] = defaultdict(dict)
    for rating in session.scalars(select(Rating).where(Rating.ranking_id.in_(ids))):
        flags[rating.ranking_id][str(rating.completion_id)] = set(rating.flags)
    for ranking, gold, fields, use_case in session.execute(query):
        who, sensitive = found[ranking.person_id], sensitive_flags(fields or {}, use_case)
        who.rankings.add(*compare_ranks((gold or {}).get("ranks", {}), ranks[ranking.id]))
        for completion_id, ours in (gold or {}).get("flags", {}).items() if sensitive else ():
            theirs = flags[ranking.id].get(completion_id, set())
            who.flags.add(bool(sensitive & set(ours)) == bool(sensitive & theirs), 1)


def _collect_written(session: Session, project: Project, found: dict[uuid.UUID, Candidate]) -> None:
    query = (
        select(Demonstration, Item.id)
        .join(Assignment, Assignment.id == Demonstration.assignment_id)
        .join(Item, Item.id == Assignment.item_id)
        .join(Batch, Batch.id == Item.batch_id)
        .where(_screenings(project), Demonstration.person_id.in_(found), is_current(Demonstration))
        .order_by(Demonstration.created_at, Demonstration.id)
    )
    rows = session.execute(query).all()
    given = select(DemonstrationGrade).where(DemonstrationGrade.demonstration_id.in_([each.id for each, _ in rows]))
    newest = {
        each.demonstration_id: each.grade for each in session.scalars(given.order_by(DemonstrationGrade.created_at))
    }
    for demonstration, item_id in rows:
        written = Written(demonstration, item_id, newest.get(demonstration.id))
        found[demonstration.person_id].written.append(written)


def grade(session: Session, project: Project, demonstration_id: uuid.UUID, value: str, *, by: Person) -> None:
    """A lead's 1-7. Graded again, the newer grade counts and the older one stays."""
    query = (
        select(Demonstration.id)
        .join(Assignment, Assignment.id == Demonstration.assignment_id)
        .join(Item, Item.id == Assignment.item_id)
        .join(Batch, Batch.id == Item.batch_id)
        .where(_screenings(project), Demonstration.id == demonstration_id)
    )
    if session.scalar(query) is None:
        raise NotFound("There is no such demonstration in a screening of this project.")
    if value not in set("1234567"):
        raise Invalid("A grade goes from 1 to 7.", fields={"grade": "Choose one."})
    session.add(DemonstrationGrade(demonstration_id=demonstration_id, person_id=by.id, grade=int(value)))
    session.flush()


def decide(session: Session, project: Project, person_id: uuid.UUID, decision: Decision, *, by: Person) -> None:
    """The admin's word, whatever the figures say; they are kept with it in the audit log."""
    who = candidate(session, project, person_id)
    if who.person.state != PersonState.screening:
        raise Conflict(f"{who.person.name} is not being screened.", mend="See their page for what is so now.")
    if decision == Decision.declined:
        accounts.set_state(session, who.person, PersonState.paused, by=by)
    else:
        accounts.set_group(session, who.person, Group(decision.value), by=by)
        accounts.set_state(session, who.person, PersonState.active, by=by)
    audit.record(session, by, "screening.decide", subject=who.person, decision=decision.value, project=project.slug,
                 **who.figures())  # fmt: skip
    session.flush()
