"""What lies before a labeler: the prompt, the completions under this labeler's letters, the form and the rules."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from sqlalchemy import Select, select
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
)
from app.labeling.ranks import in_words
from app.projects.models import Guidelines, Project, RatingSchema
from app.prompts.models import Prompt


@dataclass(frozen=True, slots=True)
class Lettered:
    """A completion as its labeler knows it: nothing says who wrote it."""

    letter: str
    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """A scale (with the wording of its ends) or a flag of the rating schema."""

    key: str
    label: str
    low: str = ""
    high: str = ""
    short: str = ""  # what fits on a chip


@dataclass(frozen=True, slots=True)
class Bench:
    assignment: Assignment
    batch: Batch
    prompt: Prompt
    project: Project
    completions: list[Lettered]
    scales: list[Field]
    flags: list[Field]
    guidelines: Guidelines | None
    purpose: ItemPurpose = ItemPurpose.ordinary

    @property
    def is_ranking(self) -> bool:
        return bool(self.completions)  # a screening asks for both

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


def letters_of(assignment: Assignment) -> dict[str, uuid.UUID]:
    """Which completion this labeler sees as A, B, ..."""
    return dict(zip(ascii_uppercase, map(uuid.UUID, assignment.shown_order), strict=False))


def own_assignment(session: Session, person: Person, assignment_id: uuid.UUID, *, lock: bool = False) -> Assignment:
    """The assignment, if it is this person's; any other answers as if it did not exist."""
    query: Select[Assignment] = select(Assignment).where(
        Assignment.id == assignment_id, Assignment.person_id == person.id
    )
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    assignment = session.scalar(query)
    if assignment is None:
        raise NotFound("There is no such assignment of yours.", mend="Go back to your desk.")
    return assignment


def open_bench(session: Session, person: Person, assignment_id: uuid.UUID) -> Bench:
    assignment = own_assignment(session, person, assignment_id)
    query = (
        select(Batch, Prompt, Project, RatingSchema, Guidelines, Item.purpose)
        .select_from(Item)
        .join(Batch, Batch.id == Item.batch_id)
        .join(Prompt, Prompt.id == Item.prompt_id)
        .join(Project, Project.id == Batch.project_id)
        .outerjoin(RatingSchema, RatingSchema.id == Batch.rating_schema_id)
        .outerjoin(Guidelines, Guidelines.id == Batch.guidelines_id)
        .where(Item.id == assignment.item_id)
    )
    batch, prompt, project, schema, guidelines, purpose = session.execute(query).one()
    return Bench(
        assignment=assignment,
        batch=batch,
        prompt=prompt,
        project=project,
        completions=_lettered(session, assignment),
        scales=_fields(schema, "likert"),
        flags=_fields(schema, "flags"),
        guidelines=guidelines,
        purpose=purpose,
    )


def _lettered(session: Session, assignment: Assignment) -> list[Lettered]:
    shown = letters_of(assignment)
    if not shown:
        return []
    query = select(Completion.id, Completion.text).where(Completion.id.in_(shown.values()))
    texts = {each.id: each.text for each in session.execute(query)}
    return [Lettered(letter, texts[completion_id]) for letter, completion_id in shown.items()]


def _fields(schema: RatingSchema | None, kind: str) -> list[Field]:
    written: list[Mapping[str, Any]] = schema.fields.get(kind, []) if schema else []
    return [
        Field(
            key=each["key"],
            label=each.get("label", each["key"]),
            low=str(each.get("low", "")),
            high=str(each.get("high", "")),
            short=each.get("short", ""),
        )
        for each in written
    ]


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
    places = select(RankingPlace.completion_id, RankingPlace.rank).where(RankingPlace.ranking_id == label.id)
    stored = {each.completion_id: each.rank for each in session.execute(places)}
    ranks = {letter: stored[each] for letter, each in letters_of(assignment).items() if each in stored}
    return Receipt(assignment.id, ranks, in_words(ranks) + verdict)


def newest_label(session: Session, assignment: Assignment) -> Ranking | Demonstration | None:
    """The ranking or demonstration that counts of a submitted assignment: the one that no newer one supersedes."""
    if assignment.state != AssignmentState.submitted:
        return None
    mine = select(Ranking).where(Ranking.item_id == assignment.item_id, Ranking.assignment_id == assignment.id)
    ranking = session.scalar(mine.where(is_current(Ranking)))
    if ranking is not None:
        return ranking
    written = select(Demonstration).where(Demonstration.assignment_id == assignment.id)
    return session.scalar(written.where(is_current(Demonstration)))
