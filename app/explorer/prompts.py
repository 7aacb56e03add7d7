"""Prompts as the explorer shows them: found by words and facts, with how much there is of each."""

import uuid
from collections import Counter
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.explorer.parts import SHOWN, Part, newest_part
from app.labeling.models import Completion, Demonstration, Item, Ranking
from app.projects.models import Project
from app.prompts.models import Prompt
from app.prompts.service import PromptFilter, conditions_of

WINDOW = 4_000


@dataclass(frozen=True, slots=True)
class FoundPrompt:
    prompt: Prompt
    demonstrations: int
    completions: int
    rankings: int


def prompts_part(session: Session, project: Project, wanted: PromptFilter, *, after: str) -> Part[FoundPrompt]:
    """The next prompts that the filter takes, the newest first."""
    query, here = select(Prompt).where(*conditions_of(project, wanted)), Prompt.project_id == project.id
    part = newest_part(session, query, Prompt.id, here, after=after, shown=SHOWN, window=WINDOW)
    return Part(_counted(session, [prompt for (prompt,) in part.rows]), part.next)


def _counted(session: Session, prompts: list[Prompt]) -> list[FoundPrompt]:
    ids = [prompt.id for prompt in prompts]

    def count(kind: Any, column: Any) -> Counter[uuid.UUID]:
        query = select(column, func.count()).select_from(kind).where(column.in_(ids)).group_by(column)
        if kind is Ranking:
            query = query.join(Item, Item.id == Ranking.item_id)
        return Counter({id_: number for id_, number in session.execute(query)})  # noqa: C416  rows, not pairs

    written_, drawn = count(Demonstration, Demonstration.prompt_id), count(Completion, Completion.prompt_id)
    ranked = count(Ranking, Item.prompt_id)
    return [FoundPrompt(each, written_[each.id], drawn[each.id], ranked[each.id]) for each in prompts]
