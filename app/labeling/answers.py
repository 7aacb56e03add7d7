"""Known answers: what a lead says of an item, and what a labeler is told of it after a training item."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from string import ascii_uppercase
from typing import Annotated, Any

from pydantic import Field, StringConstraints
from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import Person
from app.core.errors import Invalid, NotFound
from app.labeling.bench import letters_of
from app.labeling.current import is_current
from app.labeling.models import (
    Assignment,
    AssignmentState,
    Batch,
    Completion,
    Item,
    ItemCompletion,
    ItemPurpose,
    Ranking,
    RankingPlace,
    Rating,
)
from app.labeling.plans import ANSWERED
from app.labeling.questions import is_asked
from app.labeling.ranks import dense, in_words
from app.labeling.schemas import Key, Letter, Note, Rank, Sent
from app.projects.models import RatingSchema
from app.prompts.models import Prompt


class OfCompletion(Sent):
    flags: list[Key] = Field([], max_length=50)


class AnswerGiven(Sent):
    """The form on an item's page: completions go by letters in the order of the item."""

    purpose: ItemPurpose
    ranks: dict[Letter, Rank] = Field({})
    ratings: dict[Letter, OfCompletion] = Field({})
    with_flags: bool = False
    feedback: Annotated[Note, StringConstraints(strip_whitespace=True)] = ""


@dataclass(frozen=True, slots=True)
class ItemSheet:
    """An item as its lead sees it: nothing of it says which model wrote what, so that the answer is given blind."""

    item: Item
    batch: Batch
    prompt: Prompt
    completions: dict[str, Completion]
    flags: dict[str, str]  # key: label, of those asked of its prompt

    @property
    def letters(self) -> dict[uuid.UUID, str]:
        return {completion.id: letter for letter, completion in self.completions.items()}


def open_item(session: Session, batch: Batch, item_id: uuid.UUID) -> ItemSheet:
    row = session.execute(
        select(Item, Prompt, RatingSchema)
        .join(Prompt, Prompt.id == Item.prompt_id)
        .join(Batch, Batch.id == Item.batch_id)
        .outerjoin(RatingSchema, RatingSchema.id == Batch.rating_schema_id)
        .where(Item.id == item_id, Item.batch_id == batch.id)
    ).first()
    if row is None:
        raise NotFound("There is no such item in this batch.")
    item, prompt, schema = row
    query = select(Completion).join(ItemCompletion, ItemCompletion.completion_id == Completion.id)
    found = session.scalars(query.where(ItemCompletion.item_id == item.id).order_by(ItemCompletion.position))
    asked = [each for each in (schema.fields.get("flags", []) if schema else []) if is_asked(each, prompt.use_case)]
    flags = {each["key"]: each.get("label", each["key"]) for each in asked}
    return ItemSheet(item, batch, prompt, dict(zip(ascii_uppercase, found, strict=False)), flags)


def typed_answer(sheet: ItemSheet, gold: Mapping[str, Any] | None) -> dict[str, Any]:
    """A known answer in the shape of the form."""
    gold, letters = gold or {}, {str(each): letter for each, letter in sheet.letters.items()}
    return {
        "purpose": sheet.item.purpose.value,
        "ranks": {letters[each]: rank for each, rank in gold.get("ranks", {}).items() if each in letters},
        "ratings": {letters[each]: {"flags": keys} for each, keys in gold.get("flags", {}).items() if each in letters},
        "with_flags": "flags" in gold,
        "feedback": gold.get("feedback", ""),
    }


def own_answer(session: Session, sheet: ItemSheet, person: Person) -> dict[str, Any] | None:
    """What this person submitted on the item at the desk, as an answer that could be known."""
    mine = select(Ranking).where(Ranking.item_id == sheet.item.id, Ranking.person_id == person.id, is_current(Ranking))
    ranking = session.scalar(mine.where(~Ranking.cannot_rank).order_by(Ranking.created_at.desc()).limit(1))
    if ranking is None:
        return None
    places = session.execute(
        select(RankingPlace.completion_id, RankingPlace.rank).where(RankingPlace.ranking_id == ranking.id)
    )
    ratings = session.scalars(select(Rating).where(Rating.ranking_id == ranking.id)).all()
    answer: dict[str, Any] = {"ranks": {str(each): rank for each, rank in places}, "feedback": ranking.note}
    if ratings:
        answer["flags"] = {str(each): [] for each in sheet.letters}
        answer["flags"] |= {str(rating.completion_id): list(rating.flags) for rating in ratings}
    return answer


def give_answer(session: Session, sheet: ItemSheet, given: AnswerGiven, *, by: Person) -> None:
    """Say what an item is for, and its answer where one is needed. Which answers were known before is in the log."""
    item = sheet.item
    _check_answer(sheet, given)
    if given.purpose in ANSWERED:
        ids = {letter: str(completion.id) for letter, completion in sheet.completions.items()}
        ranks = given.ranks if len(ids) > 1 else dict.fromkeys(ids, 1)
        answer: dict[str, Any] = {"ranks": {ids[each]: rank for each, rank in dense(ranks).items()}}
        if given.with_flags or any(each.flags for each in given.ratings.values()):
            said = {letter: sorted(set(each.flags)) for letter, each in given.ratings.items()}
            answer["flags"] = {each: said.get(letter, []) for letter, each in ids.items()}
        if given.feedback:
            answer["feedback"] = given.feedback
        item.gold = answer
    before, item.purpose = item.purpose, given.purpose
    audit.record(session, by, "item.answer", subject=item, before=before.value, purpose=given.purpose.value,
                 answer=item.gold)  # fmt: skip
    session.flush()


def _check_answer(sheet: ItemSheet, given: AnswerGiven) -> None:
    if given.purpose not in ANSWERED:
        return
    if not sheet.completions:
        raise Invalid("A text that is still to be written has no known answer.", mend="Choose another purpose.")
    wrong = dict.fromkeys({*given.ranks, *given.ratings} - set(sheet.completions), "There is no such completion.")
    for letter, rating in given.ratings.items():
        wrong |= {f"flags {letter}": f"There is no flag {key!r}." for key in rating.flags if key not in sheet.flags}
    missing = [letter for letter in sheet.completions if letter not in given.ranks]
    if len(sheet.completions) > 1:
        wrong |= {f"rank {letter}": "Not ranked yet." for letter in missing}
        wrong |= {f"rank {letter}": "Too low." for letter, rank in given.ranks.items() if rank > len(sheet.completions)}
    if wrong:
        raise Invalid("The answer is not whole.", mend="Rank every completion; equal ranks are a tie.", fields=wrong)


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a labeler is told after a training item, completions under the letters they saw."""

    ours: str
    theirs: str
    agreeing: int  # of the pairs that we ordered
    ordered: int
    text: str
    flags: dict[str, list[str]] = field(default_factory=dict)  # letter: the labels of the flags that we set

    @property
    def is_same(self) -> bool:
        return self.ours == self.theirs


_TRAINING_ITEM = select(Item).where(Item.id == bindparam("item_id"), Item.purpose == ItemPurpose.training)


def feedback_for(session: Session, assignment: Assignment) -> Feedback | None:
    """The known answer of a training item that its labeler has submitted; none for any other item."""
    if assignment.state != AssignmentState.submitted:
        return None
    item = session.scalar(_TRAINING_ITEM, {"item_id": assignment.item_id})
    if item is None or not item.gold:
        return None
    letters = {str(completion_id): letter for letter, completion_id in letters_of(assignment).items()}
    ours = {letters[each]: rank for each, rank in item.gold.get("ranks", {}).items() if each in letters}
    query = (
        select(RankingPlace.completion_id, RankingPlace.rank)
        .join(Ranking, Ranking.id == RankingPlace.ranking_id)
        .where(Ranking.assignment_id == assignment.id, is_current(Ranking))
    )
    theirs = {letters[str(each)]: rank for each, rank in session.execute(query)}
    agreeing, ordered = compare_ranks(ours, theirs)
    return Feedback(
        ours=in_words(ours),
        theirs=in_words(theirs) or "cannot be ranked",
        agreeing=agreeing,
        ordered=ordered,
        text=item.gold.get("feedback", ""),
        flags=_labels(session, item, letters),
    )


def _labels(session: Session, item: Item, letters: Mapping[str, str]) -> dict[str, list[str]]:
    query = select(RatingSchema.fields).join(Batch, Batch.rating_schema_id == RatingSchema.id)
    fields = session.scalar(query.where(Batch.id == item.batch_id)) or {}
    words = {each["key"]: each.get("label", each["key"]) for each in fields.get("flags", [])}
    said = (item.gold or {}).get("flags", {})
    return {letters[each]: [words.get(key, key) for key in keys] for each, keys in said.items() if keys}


def compare_ranks(ours: Mapping[Any, int], theirs: Mapping[Any, int]) -> tuple[int, int]:
    """Of the pairs that we put in an order, how many they put in the same. Their tie is not the same."""
    pairs = [(a, b) for a, b in combinations(sorted(ours), 2) if ours[a] != ours[b]]
    same = sum(
        (ours[a] < ours[b]) == (theirs[a] < theirs[b])
        for a, b in pairs
        if a in theirs and b in theirs and theirs[a] != theirs[b]
    )
    return same, len(pairs)
