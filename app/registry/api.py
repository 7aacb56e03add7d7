"""Models as JSON: what a project has, and where each came from."""

import uuid
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from app.accounts.deps import Researcher
from app.core.api import After, ApiRoute, Limit, Page
from app.core.deps import ReadSession
from app.projects.deps import CurrentProject
from app.registry import service
from app.registry.models import Model, ModelKind, ModelState

router = APIRouter(prefix="/api/v1/projects/{slug}/models", route_class=ApiRoute)


class ModelRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    name: str
    kind: ModelKind
    state: ModelState
    source: str
    revision: str | None
    parent_id: uuid.UUID | None = Field(description="The model that it was trained from.")
    run_id: uuid.UUID | None = Field(description="The run that made it; none: it was brought in.")
    parameters: int | None
    context: int | None = Field(description="Longest prompt and completion together, in tokens.")
    metrics: dict[str, Any]
    error: str | None
    created_at: datetime


@router.get("")
def list_models(
    session: ReadSession,
    _: Researcher,
    project: CurrentProject,
    kind: ModelKind | None = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[ModelRead]:
    """The newest first."""
    found, cursor = service.models_after(session, project, kind, after=after, limit=limit)
    return Page(items=[ModelRead.model_validate(model) for model in found], next=cursor)


@router.get("/{model_id}", response_model=ModelRead)
def read_model(session: ReadSession, _: Researcher, project: CurrentProject, model_id: uuid.UUID) -> Model:
    return service.model_of_project(session, project, model_id)
