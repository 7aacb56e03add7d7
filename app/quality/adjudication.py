"""A lead decides where labelers disagree: a ranking of the lead's own, beside theirs and never over them."""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from string import ascii_uppercase

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import Person
from app.core.clock import now
from app.core.errors import Conflict, Invalid, NotFound
from app.labeling.bench import Lettered
from app.labeling.current import is_current
from app.labeling.leases import give_place_back, lock_person
from app.labeling.models import (
    Assignment,
    AssignmentState,
    Batch,
    Completion,
    Item,
    ItemCompletion,
    Ranking,
    RankingPlace,
)
from app.labeling.ranks import dense, in_words
from app.labeling.schemas import Letter, Note, Rank, Sent
from app.projects.models import Project
from app.prompts.models import Prompt
from app.quality.disagreements import LEAST_JUDGMENTS, may_be_decided
from app.quality.exclusions import is_covered, standing_exclusions


class DecisionGiven(Sent):
    """The form: `decided` names the decision that the page showed, empty for none."""

    ranks: dict[Letter, Rank] = Field({})
    cannot_rank: bool = False
    note: Note = ""
    decided: str = ""


@dataclass(frozen=True, slots=True)
class Judgment:
    """What somebody said of the item, under the letters that this lead sees."""

    ranking: Ranking
    person: Person
    ranks: dict[str, int]
    is_excluded: bool = False

    @property
    def words(self) -> str:
        return "cannot be ranked" if self.ranking.cannot_rank else in_words(self.ranks)


@dataclass(frozen=True, slots=True)
class Sheet:
    """An item as the lead sees it who decides: blind to the models, not to the labelers."""

    item: Item
    batch: Batch
    prompt: Prompt
    letters: dict[str, uuid.UUID]
    completions: list[Lettered]
    judgments: list[Judgment]
    decision: Judgment | None
    hindrance: str  # why this lead can't decide; empty when nothing is in the way

    is_ranking = True

    @property
    def decided(self) -> str:
        return str(self.decision.ranking.id) if self.decision else ""


def open_sheet(session: Session, project: Project, item_id: uuid.UUID, *, by: Person, lock: bool = False) -> Sheet:
    query = select(Item, Batch, Prompt).join(Batch, Batch.id == Item.batch_id).join(Prompt, Prompt.id == Item.prompt_id)
    query = query.where(Item.id == item_id, Batch.project_id == project.id)
    row = session.execute(query.with_for_update(of=Item) if lock else query).first()
    if row is None:
        raise NotFound("There is no such item in this project.", mend="Choose one under Disagreements.")
    item, batch, prompt = row
    completions = _completions(session, item)
    own = session.scalar(select(Assignment).where(Assignment.item_id == item.id, Assignment.person_id == by.id))
    letters = _letters(item, completions, own, by)
    every = _judgments(session, project, item, letters)
    judgments = [each for each in every if not each.ranking.is_adjudication]
    return Sheet(
        item=item,
        batch=batch,
        prompt=prompt,
        letters=letters,
        completions=[Lettered(letter, completions[each].text) for letter, each in letters.items()],
        judgments=judgments,
        decision=next((each for each in every if each.ranking.is_adjudication), None),
        hindrance=_hindrance(item, batch, completions, judgments, by),
    )


def _completions(session: Session, item: Item) -> dict[uuid.UUID, Completion]:
    query = select(Completion).join(ItemCompletion, ItemCompletion.completion_id == Completion.id)
    return {each.id: each for each in session.scalars(query.where(ItemCompletion.item_id == item.id))}


def _letters(
    item: Item, completions: Mapping[uuid.UUID, Completion], own: Assignment | None, by: Person
) -> dict[str, uuid.UUID]:
    """Shuffled for this lead, the same at every look: no row is needed before the decision."""
    if own is not None and own.shown_order:
        order = [uuid.UUID(each) for each in own.shown_order]
    else:
        order = sorted(completions, key=lambda each: hashlib.sha256(f"{item.id}{by.id}{each}".encode()).digest())
    return dict(zip(ascii_uppercase, order, strict=False))


def _judgments(session: Session, project: Project, item: Item, letters: Mapping[str, uuid.UUID]) -> list[Judgment]:
    """Everyone's current word on the item, the oldest first."""
    excluded = standing_exclusions(session, project)
    of = {completion_id: letter for letter, completion_id in letters.items()}
    query = select(Ranking, Person).join(Person, Person.id == Ranking.person_id)
    rows = session.execute(
        query.where(Ranking.item_id == item.id, is_current(Ranking)).order_by(Ranking.created_at, Ranking.id)
    ).all()
    ranks: dict[uuid.UUID, dict[str, int]] = {ranking.id: {} for ranking, _ in rows}
    for place in session.scalars(select(RankingPlace).where(RankingPlace.ranking_id.in_(list(ranks)))):
        ranks[place.ranking_id][of[place.completion_id]] = place.rank
    return [
        Judgment(ranking, person, ranks[ranking.id], is_covered(excluded, person.id, ranking.created_at))
        for ranking, person in rows
    ]


def _hindrance(
    item: Item, batch: Batch, completions: Mapping[uuid.UUID, Completion], judgments: list[Judgment], by: Person
) -> str:
    if not may_be_decided(batch.kind, item.purpose):
        return "Only ordinary and calibration items of ranking batches are decided: the others train nothing."
    if len(judgments) < LEAST_JUDGMENTS:
        return "Fewer than two labelers have judged this item, so there is nothing to decide yet."
    if any(each.person.id == by.id for each in judgments):
        return "You are one of the labelers who disagree. Another lead has to decide."
    if any(each.person_id == by.id for each in completions.values()):
        return "You wrote one of these completions. Another lead has to decide."
    return ""


def decide(session: Session, project: Project, item_id: uuid.UUID, given: DecisionGiven, *, by: Person) -> Judgment:
    """Store the lead's ranking. It supersedes an earlier decision, and no labeler's ranking."""
    lock_person(
        session, by
    )  # in the order in which the desk locks, so that a lead's two tabs don't wait for each other
    sheet = open_sheet(session, project, item_id, by=by, lock=True)
    if sheet.hindrance:
        raise Conflict(sheet.hindrance)
    if sheet.decision is not None and sheet.decided != given.decided:
        words = f"{sheet.decision.person.name} has decided this item meanwhile: {sheet.decision.words}."
        raise Conflict(words, mend="Nothing of yours was stored. Look at theirs, and store yours if it should stand.")
    _check(sheet, given)
    assignment = _assignment(session, sheet, by)
    ranking = Ranking(
        assignment_id=assignment.id,
        item_id=sheet.item.id,
        person_id=by.id,
        note=given.note.strip(),
        cannot_rank=given.cannot_rank,
        is_adjudication=True,
        supersedes_id=sheet.decision.ranking.id if sheet.decision else None,
    )
    session.add(ranking)
    session.flush()
    ranks = {} if given.cannot_rank else dense(given.ranks)
    for letter, rank in ranks.items():
        session.add(RankingPlace(ranking_id=ranking.id, completion_id=sheet.letters[letter], rank=rank))
    session.flush()
    decision = Judgment(ranking, by, ranks)
    audit.record(session, by, "item.decide", subject=sheet.item, ranking=str(ranking.id), words=decision.words)
    return decision


def _check(sheet: Sheet, given: DecisionGiven) -> None:
    count = len(sheet.letters)
    wrong = {f"rank {letter}": "There is no such completion." for letter in given.ranks if letter not in sheet.letters}
    wrong |= {f"rank {letter}": f"Ranks go from 1 to {count}." for letter, rank in given.ranks.items() if rank > count}
    if not given.cannot_rank:
        wrong |= {f"rank {letter}": "Not ranked yet." for letter in sheet.letters if letter not in given.ranks}
    if wrong:
        raise Invalid(
            "The decision is not whole, and was not stored.",
            mend="Give every completion a rank (equal ranks are a tie), or say that they cannot be ranked.",
            fields=wrong,
        )


def _assignment(session: Session, sheet: Sheet, by: Person) -> Assignment:
    """The lead's own row on the item. It takes no place: the item's judgments wanted and got stay as they are."""
    mine = select(Assignment).where(Assignment.item_id == sheet.item.id, Assignment.person_id == by.id)
    assignment = session.scalar(mine.with_for_update())
    if assignment is None:
        assignment = Assignment(item_id=sheet.item.id, person_id=by.id, lease_until=now())
        session.add(assignment)
    elif assignment.state == AssignmentState.leased:
        give_place_back(session, assignment)
    assignment.state = AssignmentState.submitted
    assignment.shown_order = [str(each) for each in sheet.letters.values()]
    assignment.group = by.group
    assignment.submitted_at = now()
    session.flush()
    return assignment
