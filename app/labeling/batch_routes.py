"""The admin's batches: a new one, pause, close, reopen. The list is in the quality room, which knows agreement too."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from app.accounts.deps import Admin
from app.accounts.models import Group
from app.core.deps import ReadSession, SentForm, WriteSession
from app.core.errors import DomainError
from app.core.pages import render
from app.labeling import service
from app.labeling.forms import checked
from app.labeling.models import BatchState
from app.labeling.progress import sampled_runs
from app.labeling.schemas import DemonstrationBatchCreate, RankingBatchCreate
from app.projects.deps import CurrentProject
from app.projects.models import Project
from app.prompts.models import Split, UseCase

router = APIRouter()


@router.get("/p/{slug}/labeling/new")
def new_batch_page(request: Request, session: ReadSession, _: Admin, project: CurrentProject) -> Response:
    return _new_batch_page(request, session, project)


def _new_batch_page(
    request: Request,
    session: Session,
    project: Project,
    *,
    status: int = 200,
    error: DomainError | None = None,
    typed: dict[str, Any] | None = None,
) -> Response:
    return render(
        request,
        "labeling/new_batch.html",
        status=status,
        error=error,
        typed=typed or {},
        runs=sampled_runs(session, project),
        waiting=service.count_without_demonstration(session, project),
        splits=list(Split),
        use_cases=list(UseCase),
        groups=list(Group),
    )


@router.post("/p/{slug}/labeling/demonstrations")
def create_demonstrations(
    request: Request, session: WriteSession, admin: Admin, project: CurrentProject, form: SentForm
) -> Response:
    typed = {**dict(form), "use_cases": form.getlist("use_cases"), "form": "demonstrations"}
    try:
        asked = checked(DemonstrationBatchCreate, typed)
        prompts = service.prompts_without_demonstration(
            session, project, split=asked.split, use_cases=asked.use_cases, limit=asked.count
        )
        rules = asked.model_dump(include={"name", "overlap", "group", "priority"})
        service.create_demonstration_batch(session, project, prompts=prompts, by=admin, **rules)
    except DomainError as error:
        return _new_batch_page(request, session, project, status=error.status, error=error, typed=typed)
    return RedirectResponse(f"/p/{project.slug}/labeling", 303)


@router.post("/p/{slug}/labeling/rankings")
def create_rankings(
    request: Request, session: WriteSession, admin: Admin, project: CurrentProject, form: SentForm
) -> Response:
    typed = {**dict(form), "form": "rankings"}
    try:
        asked = checked(RankingBatchCreate, typed)
        completions = service.completions_of_run(session, project, asked.run_id)
        rules = asked.model_dump(include={"kind", "name", "overlap", "group", "priority"})
        service.create_ranking_batch(session, project, completions_by_prompt=completions, by=admin, **rules)
    except DomainError as error:
        return _new_batch_page(request, session, project, status=error.status, error=error, typed=typed)
    return RedirectResponse(f"/p/{project.slug}/labeling", 303)


@router.post("/p/{slug}/labeling/{batch_id}/state")
def change_batch_state(
    session: WriteSession,
    admin: Admin,
    project: CurrentProject,
    batch_id: uuid.UUID,
    state: Annotated[BatchState, Form()],
) -> Response:
    service.change_state(session, service.batch_of(session, project, batch_id), state, by=admin)
    return RedirectResponse(f"/p/{project.slug}/labeling", 303)
