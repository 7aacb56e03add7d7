"""Judged items as the explorer shows them: what each labeler said of a prompt's completions, and whether they agree."""

import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from string import ascii_uppercase
from typing import Any

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.explorer.parts import SHOWN, Part, end_of_window, read_cursor, written
from app.labeling.current import is_current
from app.labeling.models import Batch, BatchKind, Item, ItemCompletion, Ranking, RankingPlace
from app.labeling.ranks import in_words
from app.projects.models import Project
from app.prompts.models import Prompt
from app.prompts.service import mentions
from app.quality.agreement import Judged, share_agreed
from app.quality.disagreements import DEFAULT_BELOW

WINDOW, COMPARED = 5_000, 300  # items looked through by the database, and of these compared here
KINDS = (BatchKind.ranking, BatchKind.evaluation, BatchKind.screening)


class Opinion(StrEnum):
    """What labelers said of an item."""

    differ = "differ"
    note = "note"
    cannot_rank = "cannot_rank"
    decided = "decided"


@dataclass(frozen=True, slots=True)
class ItemFilter:
    search: str = ""
    batch: uuid.UUID | None = None
    labeler: uuid.UUID | None = None
    opinion: Opinion | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """One labeler's ranking, under the letters of the item's order."""

    ranking: Ranking
    by: str
    ranks: dict[str, int]

    @property
    def words(self) -> str:
        return "cannot be ranked" if self.ranking.cannot_rank else in_words(self.ranks)


@dataclass(frozen=True, slots=True)
class FoundItem:
    item: Item
    batch: str
    prompt: Prompt
    orders: list[Order]
    agreement: float | None  # of its labelers, without who decided

    @property
    def is_disagreed(self) -> bool:
        return self.agreement is not None and self.agreement < DEFAULT_BELOW / 100


def items_part(session: Session, project: Project, wanted: ItemFilter, *, after: str) -> Part[FoundItem]:
    """The next judged items that the filter takes, of the newest batch first, and in it the last first."""
    begin = read_cursor(after, (uuid.UUID, int))
    batch = _batch_at(session, project, wanted, begin[0] if begin else None)
    if batch is None:
        return Part([], "")
    here = [Item.batch_id == batch.id] + ([Item.position < begin[1]] if begin and begin[0] == batch.id else [])
    last = end_of_window(session, select(Item.position).where(*here).order_by(Item.position.desc()), WINDOW)
    inside = [*here, *([Item.position >= last[0]] if last else [])]
    query = select(Item, Prompt).join(Prompt, Prompt.id == Item.prompt_id)
    most = COMPARED if wanted.opinion is Opinion.differ else SHOWN
    query = query.where(*inside, Item.got > 0, *_conditions(wanted)).order_by(Item.position.desc()).limit(most + 1)
    rows = [(item, prompt) for item, prompt in session.execute(query)]
    found = _taken(_described(session, batch, rows[:most]), wanted)
    if len(found) > SHOWN:
        goes_on = written(batch.id, found[SHOWN - 1].item.position)
    elif len(rows) > most:
        goes_on = written(batch.id, rows[most - 1][0].position)
    else:
        goes_on = written(batch.id, last[0]) if last else _older(session, project, wanted, batch)
    return Part(found[:SHOWN], goes_on)


def _batches(project: Project, wanted: ItemFilter) -> Any:
    query = select(Batch).where(Batch.project_id == project.id, Batch.kind.in_(KINDS)).order_by(Batch.id.desc())
    return query.where(Batch.id == wanted.batch) if wanted.batch else query


def _batch_at(session: Session, project: Project, wanted: ItemFilter, batch_id: uuid.UUID | None) -> Batch | None:
    query = _batches(project, wanted)
    found: Batch | None = session.scalar((query.where(Batch.id <= batch_id) if batch_id else query).limit(1))
    return found


def _older(session: Session, project: Project, wanted: ItemFilter, batch: Batch) -> str:
    """The cursor of the batch behind this one."""
    older = session.scalar(_batches(project, wanted).where(Batch.id < batch.id).limit(1))
    return written(older.id, 2**31 - 1) if older else ""


def _conditions(wanted: ItemFilter) -> list[ColumnElement[bool]]:
    of_item, conditions = (Ranking.item_id == Item.id, is_current(Ranking)), []
    if wanted.search.strip():
        conditions.append(mentions(wanted.search.strip()))
    if wanted.labeler:
        conditions.append(exists().where(*of_item, Ranking.person_id == wanted.labeler))
    said = {Opinion.note: Ranking.note != "", Opinion.cannot_rank: Ranking.cannot_rank,
            Opinion.decided: Ranking.is_adjudication}  # fmt: skip
    if wanted.opinion in said:
        conditions.append(exists().where(*of_item, said[wanted.opinion]))
    if wanted.opinion == Opinion.differ:
        conditions.append(Item.got > 1)
    return conditions


def _taken(found: list[FoundItem], wanted: ItemFilter) -> list[FoundItem]:
    if wanted.opinion != Opinion.differ:
        return found
    return [each for each in found if each.is_disagreed]


def _described(session: Session, batch: Batch, rows: list[tuple[Item, Prompt]]) -> list[FoundItem]:
    orders = orders_by_item(session, [item.id for item, _ in rows])
    return [FoundItem(item, batch.name, prompt, orders[item.id], _agreed(orders[item.id])) for item, prompt in rows]


def _agreed(orders: list[Order]) -> float | None:
    theirs = [order for order in orders if not order.ranking.is_adjudication]
    return share_agreed(Judged(each.ranking.item_id, each.ranking.person_id, each.ranks) for each in theirs)


def orders_by_item(session: Session, ids: list[uuid.UUID]) -> Mapping[uuid.UUID, list[Order]]:
    """What counts of each labeler's rankings of these items, the newest first."""
    letters: defaultdict[uuid.UUID, dict[uuid.UUID, str]] = defaultdict(dict)
    shown = select(ItemCompletion).where(ItemCompletion.item_id.in_(ids)).order_by(ItemCompletion.position)
    for each in session.scalars(shown):
        letters[each.item_id][each.completion_id] = ascii_uppercase[len(letters[each.item_id])]
    current = (Ranking.item_id.in_(ids), is_current(Ranking))
    ranks: defaultdict[uuid.UUID, dict[str, int]] = defaultdict(dict)
    places = select(Ranking.item_id, RankingPlace).join(Ranking, Ranking.id == RankingPlace.ranking_id).where(*current)
    for item_id, place in session.execute(places):
        ranks[place.ranking_id][letters[item_id][place.completion_id]] = place.rank
    found: defaultdict[uuid.UUID, list[Order]] = defaultdict(list)
    said = select(Ranking, Person.name).join(Person, Person.id == Ranking.person_id).where(*current)
    for ranking, name in session.execute(said.order_by(Ranking.id.desc())):
        found[ranking.item_id].append(Order(ranking, name, ranks[ranking.id]))
    return found
