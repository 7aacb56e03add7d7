"""Prompts as JSON: bringing them in, and reading the pool page by page."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from app.accounts.deps import Admin, Researcher
from app.core.api import After, ApiRoute, Limit, Page
from app.core.deps import ReadSession, WriteSession
from app.projects.deps import CurrentProject
from app.prompts import service
from app.prompts.models import PromptKind, Split, UseCase, Verdict
from app.prompts.readers import RawRow

router = APIRouter(prefix="/api/v1/projects/{slug}/prompts", route_class=ApiRoute)
MOST_ROWS = 1000


class PromptsIn(BaseModel):
    """Each row says `prompt` or `messages`, and what is known of its origin, as in an imported file."""

    model_config = ConfigDict(extra="forbid")

    rows: list[Any] = Field(min_length=1, max_length=MOST_ROWS)
    source: str = Field("api", min_length=1, max_length=200, description="Of the rows that name none.")


class RowRead(BaseModel):
    """What became of one row, and why."""

    number: int = Field(description="Its place in `rows`, from 1.")
    verdict: Verdict
    reason: str
    split: Split | None


class ImportRead(BaseModel):
    taken: int
    rows: list[RowRead]


class PromptRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    messages: list[dict[str, str]]
    kind: PromptKind
    use_case: UseCase
    source: str
    source_user: str | None
    source_organisation: str | None
    language: str
    flags: list[str]
    split: Split
    created_at: datetime


@router.post("")
def add_prompts(session: WriteSession, admin: Admin, project: CurrentProject, body: PromptsIn) -> ImportRead:
    """Takes every good row once; one that is here already is a duplicate, so the request can be sent again."""
    rows = [RawRow(number, values) for number, values in enumerate(body.rows, start=1)]
    report = service.import_prompts(session, project, rows, person=admin, source=body.source)
    judged = [RowRead(number=r.number, verdict=r.verdict, reason=r.reason, split=r.split) for r in report.rows]
    return ImportRead(taken=len(report.taken), rows=judged)


@router.get("")
def read_prompts(
    session: ReadSession,
    _: Researcher,
    project: CurrentProject,
    split: Split | None = None,
    use_case: UseCase | None = None,
    q: Annotated[str, Query(description="Words that the messages hold.")] = "",
    after: After = None,
    limit: Limit = 100,
) -> Page[PromptRead]:
    """The prompts in use, in the order of their ids, which follow time."""
    wanted = service.PromptFilter(split, use_case, q)
    found, cursor = service.prompts_after(session, project, wanted, after=after, limit=limit)
    return Page(items=[PromptRead.model_validate(prompt) for prompt in found], next=cursor)
