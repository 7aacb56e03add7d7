"""Imports as JSON: send a file, start it, follow it to its end."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from app.accounts.deps import Admin
from app.core.api import After, ApiRoute, Limit, Page
from app.core.deps import ReadSession, WriteSession
from app.core.errors import Invalid
from app.core.storage import get_artefacts
from app.projects.deps import CurrentProject
from app.prompts.intake import forms, sending, service
from app.prompts.intake.acts import Act, act_on, take_all_back
from app.prompts.intake.settings import HubSource, ImportSettings
from app.prompts.models import HeldFor, ImportState, PromptImport, Stage
from app.prompts.readers import ImportFormat

router = APIRouter(prefix="/api/v1/projects/{slug}/prompt-imports", route_class=ApiRoute)


class PromptImportRead(BaseModel):
    """An import of a file. `counts` says how many rows were taken, duplicate and refused, how many prompts each step
    changed, and how many it held."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    name: str
    format: ImportFormat
    size: int
    state: ImportState
    stage: Stage
    position: int = Field(description="Rows of the file that were dealt with in this stage.")
    total: int | None
    counts: dict[str, int]
    note: str
    error: str | None
    settings: dict[str, Any]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


def _read(row: PromptImport) -> PromptImportRead:
    return PromptImportRead.model_validate(row)


@router.post("")
def send_prompts(
    session: WriteSession,
    admin: Admin,
    project: CurrentProject,
    file: Annotated[UploadFile, File(description="JSONL, CSV, TSV, Parquet or text; gzip of all but Parquet.")],
    settings: Annotated[str, Form(description="ImportSettings as JSON; without them they are guessed.")] = "",
    start: Annotated[bool, Form(description="Start it at once, without a look at its first rows.")] = False,
) -> PromptImportRead:
    chosen = forms.settings_of_json(settings)
    if not file.filename:
        raise Invalid("The file has no name.", mend="Its ending says what format it has.")
    row = sending.send(session, project, by=admin, store=get_artefacts(), file=file, settings=chosen)
    if start:
        service.start(session, row, by=admin)
    return _read(row)


@router.post("/hub")
def fetch_prompts(session: WriteSession, admin: Admin, project: CurrentProject, source: HubSource) -> PromptImportRead:
    """Have a worker fetch a dataset of the Hub. It is a draft when it is here; start it then."""
    return _read(service.add_from_hub(session, project, source, by=admin))


@router.get("")
def read_prompt_imports(
    session: ReadSession, _: Admin, project: CurrentProject, after: After = None, limit: Limit = 100
) -> Page[PromptImportRead]:
    """The newest first; what was discarded is left out."""
    found, cursor = service.imports_of(session, project, after=after, limit=limit)
    return Page(items=[_read(row) for row in found], next=cursor)


@router.get("/{import_id}")
def read_prompt_import(
    session: ReadSession, _: Admin, project: CurrentProject, import_id: uuid.UUID
) -> PromptImportRead:
    return _read(service.import_of_project(session, project, import_id))


@router.post("/{import_id}/start")
def start_prompt_import(
    session: WriteSession,
    admin: Admin,
    project: CurrentProject,
    import_id: uuid.UUID,
    settings: ImportSettings | None = None,
) -> PromptImportRead:
    """Start a draft, with other settings where some are sent."""
    row = service.import_of_project(session, project, import_id)
    if settings is not None:
        service.choose(session, row, settings)
    service.start(session, row, by=admin)
    return _read(row)


@router.post("/{import_id}/{act}")
def act_on_prompt_import(admin: Admin, project: CurrentProject, import_id: uuid.UUID, act: Act) -> PromptImportRead:
    """Stop after the rows at hand; go on from there; or discard what has arrived of an import that is not
    done. What is in use already is never discarded: then this is refused, with how many prompts are."""
    return _read(act_on(project, import_id, act, by=admin))


@router.post("/{import_id}/held/{reason}/take-back")
def take_held_prompts_back(
    admin: Admin, project: CurrentProject, import_id: uuid.UUID, reason: HeldFor
) -> PromptImportRead:
    """Put into use all that a step held. What one that is broken off leaves is still held: ask again."""
    return _read(take_all_back(project, import_id, reason, by=admin))
