"""What lies before a labeler: the prompt, the completions under this labeler's letters, the form and the rules."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from string import ascii_uppercase

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.core.errors import NotFound
from app.labeling.current import is_current
from app.labeling.models import (
    Assignment,
    AssignmentState,
    Batch,
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
class Bench:
    assignment: Assignment
    batch: Batch
    prompt: Prompt
    project: Project
    completions: list[Lettered]
    questions: Questions
    guidelines: Guidelines | None
    purpose: ItemPurpose = ItemPurpose.ordinary

    @property
    def is_ranking(self) -> bool:
        return bool(self.completions)  # a screening asks for both

    @property
    def scales(self) -> tuple[Field, ...]:
        return self.questions.scales

    @property
    def flags(self) -> tuple[Field, ...]:
        return self.questions.flags

    @property
    def settings(self) -> ProjectSettings:
        return settings_of(self.project)

    @property
    def writing_rules(self) -> str:
        """What the guidelines ask of a demonstration, as a list in Markdown."""
        return rules_for_writing(self.guidelines.text) if self.guidelines else ""

    @property
    def letters(self) -> list[str]:
        return [each.letter for each in self.completions]


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
_OWN_ASSIGNMENT = select(Assignment).where(
    Assignment.id == bindparam("assignment_id"), Assignment.person_id == bindparam("person_id")
)
_OWN_ASSIGNMENT_LOCKED = _OWN_ASSIGNMENT.with_for_update().execution_options(populate_existing=True)


def own_assignment(session: Session, person: Person, assignment_id: uuid.UUID, *, lock: bool = False) -> Assignment:
    """The assignment, if it is this person's; any other answers as if it did not exist."""
    query = _OWN_ASSIGNMENT_LOCKED if lock else _OWN_ASSIGNMENT
    assignment = session.scalar(query, {"assignment_id": assignment_id, "person_id": person.id})
    if assignment is None:
        raise NotFound("There is no such assignment of yours.", mend="Go back to your desk.")
    return assignment


def open_bench(session: Session, person: Person, assignment_id: uuid.UUID) -> Bench:
    return bench_of(session, own_assignment(session, person, assignment_id))


_WORK = (
    select(Batch, Prompt, Project, Item.purpose)
    .select_from(Item)
    .join(Batch, Batch.id == Item.batch_id)
    .join(Prompt, Prompt.id == Item.prompt_id)
    .join(Project, Project.id == Batch.project_id)
    .where(Item.id == bindparam("item_id"))
)


def bench_of(session: Session, assignment: Assignment, *, with_texts: bool = True) -> Bench:
    """The bench of an assignment. What is handed in can be checked without the completions' texts."""
    batch, prompt, project, purpose = session.execute(_WORK, {"item_id": assignment.item_id}).one()
    return Bench(
        assignment=assignment,
        batch=batch,
        prompt=prompt,
        project=project,
        completions=_lettered(session, assignment, with_texts=with_texts),
        questions=_questions(session, batch.rating_schema_id)[prompt.use_case],
        guidelines=_guidelines(session, batch.guidelines_id),
        purpose=purpose,
    )


_TEXTS = select(Completion.id, Completion.text).where(Completion.id.in_(bindparam("ids", expanding=True)))


def _lettered(session: Session, assignment: Assignment, *, with_texts: bool) -> list[Lettered]:
    shown = letters_of(assignment)
    if not shown or not with_texts:
        return [Lettered(letter, "") for letter in shown]
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


_PLACES = select(RankingPlace.completion_id, RankingPlace.rank).where(
    RankingPlace.ranking_id == bindparam("ranking_id")
)
_NEWEST_RANKING = select(Ranking).where(
    Ranking.item_id == bindparam("item_id"), Ranking.assignment_id == bindparam("assignment_id"), is_current(Ranking)
)
_NEWEST_DEMONSTRATION = select(Demonstration).where(
    Demonstration.assignment_id == bindparam("assignment_id"), is_current(Demonstration)
)


def receipt(session: Session, assignment: Assignment) -> Receipt | None:
    """What counts of this assignment's submission; none when it was not submitted."""
    label = newest_label(session, assignment)
    if label is None:
        return None
    if isinstance(label, Demonstration):
        words = len(label.text.split())
        return Receipt(assignment.id, {}, f"a demonstration of {words} word{'' if words == 1 else 's'}", label.text)
    verdict = "; none is good enough to use" if label.all_bad else ""
    if label.cannot_rank:
        return Receipt(assignment.id, {}, f"cannot be ranked{verdict}")
    places = session.connection().execute(_PLACES, {"ranking_id": label.id})
    stored = {each.completion_id: each.rank for each in places}
    ranks = {letter: stored[each] for letter, each in letters_of(assignment).items() if each in stored}
    said = in_words(ranks) if len(assignment.shown_order) > 1 else _grade_in_words(session, label)
    return Receipt(assignment.id, ranks, said + verdict)


def _grade_in_words(session: Session, ranking: Ranking) -> str:
    likert = session.scalar(select(Rating.likert).where(Rating.ranking_id == ranking.id)) or {}
    return f"a grade of {', '.join(str(each) for each in likert.values())}" if likert else "your flags"


def newest_label(session: Session, assignment: Assignment) -> Ranking | Demonstration | None:
    """The ranking or demonstration that counts of a submitted assignment: the one that no newer one supersedes."""
    if assignment.state != AssignmentState.submitted:
        return None
    return session.scalar(_NEWEST_RANKING, {"item_id": assignment.item_id, "assignment_id": assignment.id}) or (
        session.scalar(_NEWEST_DEMONSTRATION, {"assignment_id": assignment.id})
    )
