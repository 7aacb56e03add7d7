"""What labelers said of an item, for leads: orders, grades, flags and notes, under the letters of the item's page."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.labeling.answers import ItemSheet
from app.labeling.current import is_current
from app.labeling.models import Assignment, Demonstration, Ranking, RankingPlace, Rating
from app.labeling.ranks import in_words


@dataclass(frozen=True, slots=True)
class Said:
    by: str
    at: datetime
    words: str
    grades: dict[str, dict[str, int]]  # letter: {scale: 1-7}
    flags: dict[str, list[str]]  # letter: the labels of the flags set
    note: str


def said_of(session: Session, sheet: ItemSheet) -> list[Said]:
    """What counts of each labeler, the newest first; superseded labels are left out."""
    query = (
        select(Ranking, Person.name)
        .join(Person, Person.id == Ranking.person_id)
        .where(Ranking.item_id == sheet.item.id, is_current(Ranking))
        .order_by(Ranking.created_at.desc())
    )
    rows = session.execute(query).all()
    ids = [ranking.id for ranking, _ in rows]
    places: defaultdict[UUID, dict[str, int]] = defaultdict(dict)
    for place in session.scalars(select(RankingPlace).where(RankingPlace.ranking_id.in_(ids))):
        places[place.ranking_id][sheet.letters[place.completion_id]] = place.rank
    ratings: defaultdict[UUID, list[Rating]] = defaultdict(list)
    for rating in session.scalars(select(Rating).where(Rating.ranking_id.in_(ids))):
        ratings[rating.ranking_id].append(rating)
    found = [_said(sheet, ranking, name, places[ranking.id], ratings[ranking.id]) for ranking, name in rows]
    return found + _written(session, sheet)


def _said(sheet: ItemSheet, ranking: Ranking, name: str, ranks: Mapping[str, int], ratings: list[Rating]) -> Said:
    order = "cannot be ranked" if ranking.cannot_rank else in_words(ranks) if len(sheet.completions) > 1 else ""
    letters = sheet.letters
    return Said(
        by=f"{name}, deciding" if ranking.is_adjudication else name,
        at=ranking.created_at,
        words=order + ("; none is good enough to use" if ranking.all_bad else ""),
        grades={letters[each.completion_id]: each.likert for each in ratings if each.likert},
        flags={
            letters[each.completion_id]: [sheet.flags.get(key, key) for key in each.flags]
            for each in ratings
            if each.flags
        },
        note=ranking.note,
    )


def _written(session: Session, sheet: ItemSheet) -> list[Said]:
    query = (
        select(Demonstration, Person.name)
        .join(Assignment, Assignment.id == Demonstration.assignment_id)
        .join(Person, Person.id == Demonstration.person_id)
        .where(Assignment.item_id == sheet.item.id, is_current(Demonstration))
        .order_by(Demonstration.created_at.desc())
    )
    return [Said(name, written.created_at, written.text, {}, {}, "") for written, name in session.execute(query)]
