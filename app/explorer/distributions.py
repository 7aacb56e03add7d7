"""How prompts, completions and judgments are spread, over the newest of each: quick in any project, and it says so."""

import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.core.numerals import minus
from app.explorer.items import KINDS
from app.labeling.current import is_current
from app.labeling.models import Batch, Completion, Item, Ranking, RankingPlace, Rating
from app.labeling.scales import grades, scales_of_project
from app.projects.models import Project
from app.prompts.models import Prompt

NEWEST = 1_000
BATCHES, WINDOW = 20, 5_000  # looked through for judgments, and items of each
LENGTHS = (20, 50, 100, 200, 500)  # words: the ends of the bins


@dataclass(frozen=True, slots=True)
class Bar:
    name: str
    count: int
    share: float  # of all that the distribution counts


@dataclass(frozen=True, slots=True)
class Distribution:
    title: str
    of: str
    total: int
    bars: list[Bar]


def distributions(session: Session, project: Project) -> list[Distribution]:
    """Those that have anything to count."""
    found = [*_of_prompts(session, project), *_of_completions(session, project), *_of_judgments(session, project)]
    return [each for each in found if each.total]


def _spread(title: str, of: str, values: Iterable[str], order: Sequence[str] = ()) -> Distribution:
    counts = Counter(values)
    total = counts.total()
    names = [*order, *(name for name, _ in counts.most_common() if name not in order)]
    return Distribution(title, of, total, [Bar(name, counts[name], counts[name] / total) for name in names if total])


def _bin(words: int) -> str:
    return next((f"up to {end} words" for end in LENGTHS if words <= end), _LONGEST)


_LONGEST = f"more than {LENGTHS[-1]} words"
_BINS = [*(f"up to {end} words" for end in LENGTHS), _LONGEST]


def _of_prompts(session: Session, project: Project) -> list[Distribution]:
    query = (
        select(Prompt.use_case, Prompt.split, Prompt.language, Prompt.messages)
        .where(Prompt.project_id == project.id, Prompt.is_retired.is_(False))
        .order_by(Prompt.id.desc())
        .limit(NEWEST)
    )
    rows = session.execute(query).all()
    of = f"the newest {len(rows):,} prompts"
    return [
        _spread("Use case", of, (row.use_case.value.replace("_", " ") for row in rows)),
        _spread("Split", of, (row.split.value for row in rows)),
        _spread("Language", of, (row.language for row in rows)),
        _spread("Length of the last turn", of, (_bin(len(row.messages[-1]["content"].split())) for row in rows), _BINS),
    ]


def _of_completions(session: Session, project: Project) -> list[Distribution]:
    newest = select(Prompt.id).where(Prompt.project_id == project.id).order_by(Prompt.id.desc()).limit(NEWEST)
    query = select(Completion.text, Completion.finish_reason).where(Completion.prompt_id.in_(newest)).limit(NEWEST)
    rows = session.execute(query).all()
    of = f"{len(rows):,} completions of the newest prompts"
    return [
        _spread("Length of completions", of, (_bin(len(row.text.split())) for row in rows), _BINS),
        _spread("How completions end", of, (row.finish_reason for row in rows)),
    ]


def _of_judgments(session: Session, project: Project) -> list[Distribution]:
    judged = select(Ranking.id).where(Ranking.item_id.in_(_newest_judged(session, project)), is_current(Ranking))
    ids = session.scalars(judged.limit(NEWEST)).all()
    of = f"{len(ids):,} rankings of the newest judged prompts"
    shown = (
        select(func.count(), func.count(RankingPlace.rank.distinct()))
        .where(RankingPlace.ranking_id.in_(ids))
        .group_by(RankingPlace.ranking_id)
    )
    places = [(count, tiers) for count, tiers in session.execute(shown)]
    depths = sorted({count for count, _ in places})
    columns = (Rating.likert, Rating.flags, Rating.rating_schema_id)
    ratings = session.execute(select(*columns).where(Rating.ranking_id.in_(ids))).all()
    rated = f"{len(ratings):,} ratings of {of}"
    versions = scales_of_project(session, project)
    given = [grades(rating.likert, rating.rating_schema_id, versions) for rating in ratings]
    scales = sorted({scale for each in given for scale in each})
    return [
        _spread("Completions in a ranking", of, (str(count) for count, _ in places), [str(count) for count in depths]),
        _spread("Order", of, ("with ties" if tiers < count else "without a tie" for count, tiers in places)),
        *(
            _spread(
                f"Rating: {scale.name}",
                rated,
                (minus(each[scale]) for each in given if scale in each),
                [minus(step) for step in scale.steps],
            )
            for scale in scales
        ),
        _spread("Flags", rated, (flag.replace("_", " ") for rating in ratings for flag in rating.flags or ["none"])),
    ]  # fmt: skip


def _newest_judged(session: Session, project: Project) -> list[uuid.UUID]:
    """Items with judgments, batch by batch along the index: sorting all rankings of a project by time takes seconds."""
    batches = select(Batch.id).where(Batch.project_id == project.id, Batch.kind.in_(KINDS)).order_by(Batch.id.desc())
    found: list[uuid.UUID] = []
    for batch_id in session.scalars(batches.limit(BATCHES)).all():
        newest = select(Item.id, Item.got).where(Item.batch_id == batch_id).order_by(Item.position.desc())
        window = newest.limit(WINDOW).subquery()
        found += session.scalars(select(window.c.id).where(window.c.got > 0).limit(NEWEST - len(found)))
        if len(found) == NEWEST:
            break
    return found
