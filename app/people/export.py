"""Everything a person made and said here, as JSON, for themself. Which model wrote what is not theirs to know."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Engine, Select, inspect, select
from sqlalchemy.orm import Session

from app.accounts.models import ApiToken, AuditEvent, Person, ProviderIdentity, SecondFactor, SignIn
from app.core.db import Base, reading
from app.labeling.models import (
    Assignment,
    Batch,
    Completion,
    Demonstration,
    DemonstrationGrade,
    Item,
    Ranking,
    RankingPlace,
    Rating,
    Report,
    SelfAssessment,
)
from app.projects.models import GuidelinesAcceptance, Project, ProjectMember, WorkPause
from app.prompts.models import Prompt
from app.quality.models import Exclusion

AT_ONCE = 200
_SECRET = {"password_hash", "token_hash", "sealed_secret", "last_step"}
Row = dict[str, Any]


def export_json(person_id: uuid.UUID, engine: Engine | None = None) -> Iterator[str]:
    """Piece by piece, so that years of work need not fit into the memory."""
    with reading(engine) as session:
        person = session.get_one(Person, person_id)
        yield "{\n" + f'"person": {_json(_columns(person))}'
        for name, query in _SECTIONS.items():
            yield f',\n"{name}": ['
            for number, row in enumerate(query(session, person)):
                yield (",\n" if number else "\n") + _json(row)
            yield "]"
        yield "\n}\n"


def _json(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False, default=str)


def _columns(row: Base) -> Row:
    """A row as it is stored, without what would let anyone sign in."""
    names = [attribute.key for attribute in inspect(type(row)).column_attrs]
    return {name: getattr(row, name) for name in names if name not in _SECRET}


def _each(session: Session, query: Select[Any]) -> Iterator[Any]:
    return iter(session.scalars(query.execution_options(yield_per=AT_ONCE)))


def _plain(table: Any) -> Any:
    """The section of a table whose rows are a person's own."""

    def _rows(session: Session, person: Person) -> Iterator[Row]:
        return map(_columns, _each(session, select(table).where(table.person_id == person.id)))

    return _rows


def _projects(session: Session, person: Person) -> Iterator[Row]:
    query = select(Project).join(ProjectMember, ProjectMember.project_id == Project.id)
    for project in _each(session, query.where(ProjectMember.person_id == person.id)):
        yield {"id": project.id, "name": project.name}


def _assignments(session: Session, person: Person) -> Iterator[Row]:
    query = (
        select(Assignment, Batch.name, Prompt.messages)
        .join(Item, Item.id == Assignment.item_id)
        .join(Batch, Batch.id == Item.batch_id)
        .join(Prompt, Prompt.id == Item.prompt_id)
        .where(Assignment.person_id == person.id)
        .order_by(Assignment.created_at, Assignment.id)
    )
    for assignment, batch, messages in session.execute(query.execution_options(yield_per=AT_ONCE)):
        yield {**_columns(assignment), "batch": batch, "prompt": messages}


def _rankings(session: Session, person: Person) -> Iterator[Row]:
    query = select(Ranking).where(Ranking.person_id == person.id).order_by(Ranking.created_at, Ranking.id)
    for chunk in session.scalars(query.execution_options(yield_per=AT_ONCE)).partitions():
        ids = [ranking.id for ranking in chunk]
        places: dict[uuid.UUID, list[Row]] = {each: [] for each in ids}
        ratings: dict[uuid.UUID, list[Row]] = {each: [] for each in ids}
        ranked = (
            select(RankingPlace, Completion.text)
            .join(Completion, Completion.id == RankingPlace.completion_id)
            .where(RankingPlace.ranking_id.in_(ids))
            .order_by(RankingPlace.rank, RankingPlace.completion_id)
        )
        for place, text in session.execute(ranked):
            row = {"completion_id": place.completion_id, "rank": place.rank, "text": text}
            places[place.ranking_id].append(row)
        for rating in session.scalars(select(Rating).where(Rating.ranking_id.in_(ids))):
            ratings[rating.ranking_id].append(_columns(rating))
        for ranking in chunk:
            yield {**_columns(ranking), "places": places[ranking.id], "ratings": ratings[ranking.id]}


def _prompts(session: Session, person: Person) -> Iterator[Row]:
    for prompt in _each(session, select(Prompt).where(Prompt.written_by == person.id)):
        yield {"id": prompt.id, "created_at": prompt.created_at, "messages": prompt.messages}


def _events(session: Session, person: Person) -> Iterator[Row]:
    """What they did that is in the audit log, and what was done to their account."""
    query = select(AuditEvent).where((AuditEvent.person_id == person.id) | (AuditEvent.subject_id == person.id))
    return map(_columns, _each(session, query.order_by(AuditEvent.created_at, AuditEvent.id)))


_SECTIONS = {
    "projects": _projects,
    "sign_ins": _plain(SignIn),
    "api_tokens": _plain(ApiToken),
    "second_factor": _plain(SecondFactor),
    "single_sign_on": _plain(ProviderIdentity),
    "accepted_guidelines": _plain(GuidelinesAcceptance),
    "self_assessments": _plain(SelfAssessment),
    "assignments": _assignments,
    "demonstrations": _plain(Demonstration),
    "rankings": _rankings,
    "prompts": _prompts,
    "reports": _plain(Report),
    "grades_given": _plain(DemonstrationGrade),
    "exclusions": _plain(Exclusion),
    "pauses": _plain(WorkPause),
    "events": _events,
}
