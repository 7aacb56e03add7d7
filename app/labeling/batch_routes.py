"""The admin's new batches. A batch's own page is in `batch_pages`, the list of all in the quality room."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session
from starlette.datastructures import FormData

from app.accounts.deps import Admin
from app.accounts.models import Group, Person
from app.core.deps import ReadSession, SentForm, WriteSession
from app.core.errors import DomainError, Invalid
from app.core.pages import render
from app.labeling import batch_pages, choices, rating_schema_routes, screening_routes, service
from app.labeling.batch_forms import (
    ComparisonBatchCreate,
    DemonstrationBatchCreate,
    GradingBatchCreate,
    RankingBatchCreate,
    ScreeningBatchCreate,
)
from app.labeling.forms import checked
from app.labeling.models import Batch, BatchKind
from app.labeling.plans import count_answered
from app.labeling.progress import sampled_runs
from app.projects import service as projects
from app.projects.deps import CurrentProject
from app.projects.models import Project
from app.prompts import service as prompts
from app.prompts.models import Split, UseCase

router = APIRouter()
router.include_router(batch_pages.router)
router.include_router(screening_routes.router)
router.include_router(rating_schema_routes.router)
Create = Callable[[Session, Project, Person, dict[str, Any]], Batch]


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
    sources, languages = prompts.sources_and_languages(session, project)
    return render(
        request,
        "labeling/new_batch.html",
        status=status,
        error=error,
        typed=typed or {},
        runs=sampled_runs(session, project),
        waiting=choices.count_without_demonstration(session, project),
        writers=choices.writers(session, project),
        gradable=choices.count_to_grade(session, project),
        answered=count_answered(session, project),
        guidelines=projects.versions_of_guidelines(session, project),
        schemas=projects.schema_versions(session, project),
        sources=sources,
        languages=languages,
        splits=list(Split),
        use_cases=list(UseCase),
        groups=list(Group),
    )


def _create(
    request: Request, session: Session, project: Project, admin: Person, form: FormData, kind: str, create: Create
) -> Response:
    lists = {name: form.getlist(name) for name in ("use_cases", "models")}
    typed = {**dict(form), **lists, "form": kind}
    try:
        with session.begin_nested():  # a refused batch leaves nothing behind
            batch = create(session, project, admin, typed)
    except DomainError as error:
        return _new_batch_page(request, session, project, status=error.status, error=error, typed=typed)
    return RedirectResponse(f"/p/{project.slug}/labeling/batches/{batch.id}", 303)


@router.post("/p/{slug}/labeling/demonstrations")
def create_demonstrations(
    request: Request, session: WriteSession, admin: Admin, project: CurrentProject, form: SentForm
) -> Response:
    return _create(request, session, project, admin, form, "demonstrations", _demonstrations)


def _demonstrations(session: Session, project: Project, admin: Person, typed: dict[str, Any]) -> Batch:
    asked = checked(DemonstrationBatchCreate, typed)
    found = choices.prompts_without_demonstration(session, project, asked.wanted(), limit=asked.count)
    return service.create_demonstration_batch(session, project, prompts=found, by=admin, **asked.rules())


@router.post("/p/{slug}/labeling/rankings")
def create_rankings(
    request: Request, session: WriteSession, admin: Admin, project: CurrentProject, form: SentForm
) -> Response:
    return _create(request, session, project, admin, form, "rankings", _rankings)


def _rankings(session: Session, project: Project, admin: Person, typed: dict[str, Any]) -> Batch:
    asked = checked(RankingBatchCreate, typed)
    found = choices.completions_of_run(
        session, project, asked.run_id, asked.wanted(), most=asked.completions, limit=asked.count
    )
    return service.create_ranking_batch(
        session, project, completions_by_prompt=found, kind=asked.kind, by=admin, **asked.rules()
    )


@router.post("/p/{slug}/labeling/comparisons")
def create_comparisons(
    request: Request, session: WriteSession, admin: Admin, project: CurrentProject, form: SentForm
) -> Response:
    return _create(request, session, project, admin, form, "comparisons", _comparisons)


def _comparisons(session: Session, project: Project, admin: Person, typed: dict[str, Any]) -> Batch:
    asked = checked(ComparisonBatchCreate, typed)
    found = choices.completions_side_by_side(session, project, asked.models, asked.wanted(), limit=asked.count)
    if not found:
        raise Invalid(
            "There is no such prompt for which all of these models wrote.",
            mend="Choose other prompts or fewer models, or sample from each of them for the same prompts.",
        )
    return service.create_ranking_batch(
        session, project, completions_by_prompt=found, kind=BatchKind.evaluation, by=admin, **asked.rules()
    )


@router.post("/p/{slug}/labeling/gradings")
def create_gradings(
    request: Request, session: WriteSession, admin: Admin, project: CurrentProject, form: SentForm
) -> Response:
    return _create(request, session, project, admin, form, "gradings", _gradings)


def _gradings(session: Session, project: Project, admin: Person, typed: dict[str, Any]) -> Batch:
    asked = checked(GradingBatchCreate, typed)
    found = choices.demonstrations_to_grade(session, project, asked.wanted(), limit=asked.count)
    return service.create_grading_batch(session, project, demonstrations=found, by=admin, **asked.rules())


@router.post("/p/{slug}/labeling/screenings")
def create_screening(
    request: Request, session: WriteSession, admin: Admin, project: CurrentProject, form: SentForm
) -> Response:
    return _create(request, session, project, admin, form, "screenings", _screening)


def _screening(session: Session, project: Project, admin: Person, typed: dict[str, Any]) -> Batch:
    asked = checked(ScreeningBatchCreate, typed)
    found = choices.prompts_of(session, project, asked.wanted(), limit=asked.count)
    return service.create_screening_batch(
        session, project, answered=asked.answered, prompts=found, by=admin, **asked.rules()
    )
