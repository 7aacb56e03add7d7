"""What lies before a labeler: the prompt, the completions under this labeler's letters, the form and the rules."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.core.errors import NotFound
from app.labeling.current import is_current
from app.labeling.models import (
    Assignment,
    AssignmentState,
    Batch,
    BatchKind,
    Completion,
    Demonstration,
    Item,
    ItemPurpose,
    Ranking,
    RankingPlace,
    Rating,
)
from app.labeling.questions import NOTHING, Field, Questions, questions_by_use_case
from app.labeling.ranks import in_words
from app.projects.models import Guidelines, Project, RatingSchema
from app.projects.settings import ProjectSettings, settings_of
from app.projects.writing_rules import rules_for_writing
from app.prompts.models import Prompt, UseCase


@dataclass(frozen=True, slots=True)
class Lettered:
    """A completion as its labeler knows it: nothing says who wrote it."""

    letter: str
    text: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What an assignment asks for, without the texts: enough to check and to store what is handed in."""

    assignment: Assignment
    prompt_id: uuid.UUID
    use_case: UseCase
    rating_schema_id: uuid.UUID | None
    questions: Questions

    @property
    def is_ranking(self) -> bool:
        return bool(self.assignment.shown_order)  # a screening asks for both

    @property
    def letters(self) -> list[str]:
        return list(letters_of(self.assignment))

    @property
    def scales(self) -> tuple[Field, ...]:
        return self.questions.scales

    @property
    def flags(self) -> tuple[Field, ...]:
        return self.questions.flags


@dataclass(frozen=True, slots=True)
class Bench(Asked):
    kind: BatchKind
    prompt: Prompt
    project: Project
    completions: list[Lettered]
    guidelines: Guidelines | None
    purpose: ItemPurpose

    @property
    def settings(self) -> ProjectSettings:
        return settings_of(self.project)

    @property
    def writing_rules(self) -> str:
        """What the guidelines ask of a demonstration, as a list in Markdown."""
        return rules_for_writing(self.guidelines.text) if self.guidelines else ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is stored of a submission, read back from its rows."""

    assignment_id: uuid.UUID
    ranks: dict[str, int]
    words: str
    text: str = ""
    can_amend: bool = False
    teaches: bool = False  # of a training item: the known answer is shown before the next item


def letters_of(assignment: Assignment) -> dict[str, uuid.UUID]:
    """Which completion this labeler sees as A, B, ..."""
    return dict(zip(ascii_uppercase, map(uuid.UUID, assignment.shown_order), strict=False))


# What every item needs is asked for by statements that are built once.
IS_OWN = (Assignment.id == bindparam("assignment_id"), Assignment.person_id == bindparam("person_id"))
_OWN_ASSIGNMENT = select(Assignment).where(*IS_OWN)
_OWN_ASSIGNMENT_LOCKED = _OWN_ASSIGNMENT.with_for_update().execution_options(populate_existing=True)


def own_assignment(session: Session, person: Person, assignment_id: uuid.UUID, *, lock: bool = False) -> Assignment:
    """The assignment, if it is this person's; any other answers as if it did not exist."""
    query = _OWN_ASSIGNMENT_LOCKED if lock else _OWN_ASSIGNMENT
    assignment = session.scalar(query, {"assignment_id": assignment_id, "person_id": person.id})
    if assignment is None:
        raise no_such_assignment()
    return assignment


def no_such_assignment() -> NotFound:
    return NotFound("There is no such assignment of yours.", mend="Go back to your desk.")


_ASKED = (
    select(Assignment, Item.prompt_id, Prompt.use_case, Batch.rating_schema_id)
    .join(Item, Item.id == Assignment.item_id)
    .join(Prompt, Prompt.id == Item.prompt_id)
    .join(Batch, Batch.id == Item.batch_id)
    .where(*IS_OWN)
    .with_for_update(of=Assignment)
    .execution_options(populate_existing=True)
)


def asked_of(session: Session, person: Person, assignment_id: uuid.UUID) -> Asked:
    """What the person's assignment asks for; it stays locked."""
    row = session.execute(_ASKED, {"assignment_id": assignment_id, "person_id": person.id}).first()
    if row is None:
        raise no_such_assignment()
    questions = _questions(session, row.rating_schema_id)[row.use_case]
    return Asked(row.Assignment, row.prompt_id, row.use_case, row.rating_schema_id, questions)


def open_bench(session: Session, person: Person, assignment_id: uuid.UUID) -> Bench:
    return bench_of(session, own_assignment(session, person, assignment_id))


_WORK = (
    select(Prompt, Project, Item.purpose, Batch.kind, Batch.guidelines_id, Batch.rating_schema_id)
    .select_from(Item)
    .join(Batch, Batch.id == Item.batch_id)
    .join(Prompt, Prompt.id == Item.prompt_id)
    .join(Project, Project.id == Batch.project_id)
    .where(Item.id == bindparam("item_id"))
)


def bench_of(session: Session, assignment: Assignment) -> Bench:
    work = session.execute(_WORK, {"item_id": assignment.item_id}).one()
    return Bench(
        assignment=assignment,
        prompt_id=work.Prompt.id,
        use_case=work.Prompt.use_case,
        rating_schema_id=work.rating_schema_id,
        questions=_questions(session, work.rating_schema_id)[work.Prompt.use_case],
        kind=work.kind,
        prompt=work.Prompt,
        project=work.Project,
        completions=_lettered(session, assignment),
        guidelines=_guidelines(session, work.guidelines_id),
        purpose=work.purpose,
    )


_TEXTS = select(Completion.id, Completion.text).where(Completion.id.in_(bindparam("ids", expanding=True)))


def _lettered(session: Session, assignment: Assignment) -> list[Lettered]:
    shown = letters_of(assignment)
    if not shown:
        return []
    found = session.connection().execute(_TEXTS, {"ids": list(shown.values())})
    texts: dict[uuid.UUID, str] = {each.id: each.text for each in found}
    return [Lettered(letter, texts[completion_id]) for letter, completion_id in shown.items()]


# Versions never change, so a process reads each of them once.
_known_questions: dict[uuid.UUID | None, Mapping[UseCase, Questions]] = {None: NOTHING}
_known_guidelines: dict[uuid.UUID | None, Guidelines | None] = {None: None}


def _questions(session: Session, schema_id: uuid.UUID | None) -> Mapping[UseCase, Questions]:
    """What a rating schema asks, by the use case of the prompt."""
    if schema_id not in _known_questions:
        fields = session.scalars(select(RatingSchema.fields).where(RatingSchema.id == schema_id)).one()
        _known_questions[schema_id] = questions_by_use_case(fields)
    return _known_questions[schema_id]


def _guidelines(session: Session, guidelines_id: uuid.UUID | None) -> Guidelines | None:
    """A copy that belongs to no session, since other threads see it too."""
    if guidelines_id not in _known_guidelines:
        query = select(*Guidelines.__table__.columns).where(Guidelines.id == guidelines_id)
        row = session.connection().execute(query).one()
        _known_guidelines[guidelines_id] = Guidelines(**row._mapping)
    return _known_guidelines[guidelines_id]


_IS_NEWEST = (
    Ranking.item_id == bindparam("item_id"),
    Ranking.assignment_id == bindparam("assignment_id"),
    is_current(Ranking),
)
_NEWEST_RANKING = select(Ranking).where(*_IS_NEWEST)
_STORED_RANKING = (
    select(Ranking.id, Ranking.cannot_rank, Ranking.all_bad, RankingPlace.completion_id, RankingPlace.rank)
    .outerjoin(RankingPlace, RankingPlace.ranking_id == Ranking.id)
    .where(*_IS_NEWEST)
)
_NEWEST_DEMONSTRATION = select(Demonstration).where(
    Demonstration.assignment_id == bindparam("assignment_id"), is_current(Demonstration)
)


def receipt(session: Session, assignment: Assignment) -> Receipt | None:
    """What counts of this assignment's submission; none when it was not submitted."""
    if assignment.state != AssignmentState.submitted:
        return None
    asking = {"item_id": assignment.item_id, "assignment_id": assignment.id}
    places = session.connection().execute(_STORED_RANKING, asking).all()
    if places:
        return _receipt_of_ranking(session, assignment, places)
    label = session.scalars(_NEWEST_DEMONSTRATION, {"assignment_id": assignment.id}).first()
    if label is None:
        return None
    words = len(label.text.split())
    return Receipt(assignment.id, {}, f"a demonstration of {words} word{'' if words == 1 else 's'}", label.text)


def _receipt_of_ranking(session: Session, assignment: Assignment, places: Sequence[Any]) -> Receipt:
    """`places` has a row at least: without a place in it, where the ranking has none."""
    ranking = places[0]
    verdict = "; none is good enough to use" if ranking.all_bad else ""
    if ranking.cannot_rank:
        return Receipt(assignment.id, {}, f"cannot be ranked{verdict}")
    stored = {each.completion_id: each.rank for each in places}
    ranks = {letter: stored[each] for letter, each in letters_of(assignment).items() if each in stored}
    said = in_words(ranks) if len(assignment.shown_order) > 1 else _grade_in_words(session, ranking.id)
    return Receipt(assignment.id, ranks, said + verdict)


def _grade_in_words(session: Session, ranking_id: uuid.UUID) -> str:
    likert = session.scalar(select(Rating.likert).where(Rating.ranking_id == ranking_id)) or {}
    return f"a grade of {', '.join(str(each) for each in likert.values())}" if likert else "your flags"


def newest_label(session: Session, assignment: Assignment) -> Ranking | Demonstration | None:
    """The ranking or demonstration that counts of a submitted assignment: the one that no newer one supersedes."""
    if assignment.state != AssignmentState.submitted:
        return None
    return session.scalar(_NEWEST_RANKING, {"item_id": assignment.item_id, "assignment_id": assignment.id}) or (
        session.scalar(_NEWEST_DEMONSTRATION, {"assignment_id": assignment.id})
    )
