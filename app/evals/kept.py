"""What was read of the judgments stays at hand until one is added, corrected or left out."""

import uuid
from collections.abc import Callable
from datetime import datetime
from threading import Lock
from typing import Any, TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.evals.judgments import Judgments, counting
from app.labeling.models import Ranking
from app.projects.models import Project, RatingSchema
from app.prompts.models import Prompt
from app.quality.models import Exclusion

Read = TypeVar("Read")
MOST = 6  # selections; three hundred thousand rankings of four take about 200 MiB
Stamp = tuple[int | datetime | None, ...]
_kept: dict[tuple[str, uuid.UUID, Judgments], tuple[Stamp, Any]] = {}
_guard = Lock()


def count_judgments(session: Session, project: Project, judgments: Judgments) -> int:
    """How many rankings count."""
    return session.scalar(counting(select(func.count()), project, judgments)) or 0


def at_hand(
    read: Callable[[Session, Project, Judgments], Read], session: Session, project: Project, judgments: Judgments
) -> Read:
    """What `read` gives, from before if nothing has changed."""
    key, stamp = (read.__name__, project.id, judgments), _stamp(session, project, judgments)
    with _guard:
        found = _kept.pop(key, None)
        if found and found[0] == stamp:
            _kept[key] = found  # the newest last
            return found[1]  # type: ignore[no-any-return]
    fresh = read(session, project, judgments)
    with _guard:
        _kept[key] = (stamp, fresh)
        while len(_kept) > MOST:
            del _kept[next(iter(_kept))]
    return fresh


def _stamp(session: Session, project: Project, judgments: Judgments) -> Stamp:
    """Changes with whatever changes a figure: rankings come and go by being made, superseded or left out."""
    columns = (func.count(), func.max(Ranking.created_at), func.max(Prompt.use_case_fixed_at))
    count, newest, sorted_at = session.execute(counting(select(*columns), project, judgments)).one()
    schemas = session.scalar(select(func.count()).where(RatingSchema.project_id == project.id)) or 0
    changes = (func.count(), func.max(Exclusion.created_at), func.max(Exclusion.lifted_at))
    excluded = session.execute(select(*changes).where(Exclusion.project_id == project.id)).one()
    return count, newest, sorted_at, schemas, *excluded
