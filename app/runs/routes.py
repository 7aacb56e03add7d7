"""Runs: the overview of the loop, the list, a new one, and each run's page with its buttons."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from app.accounts.deps import Admin, Researcher, SignedIn
from app.accounts.models import Role
from app.core.db import reading, reading_one_state, writing
from app.core.deps import ReadSession, WriteSession
from app.core.errors import DomainError
from app.core.pages import render, wants_fragment
from app.projects import service as projects
from app.projects.deps import CurrentProject
from app.projects.models import Project
from app.quality import service as quality
from app.runs import creation, history, line, newform, overview, runpage, service, waiting, workers
from app.runs.configs import RunKind
from app.runs.schemas import Priority

router = APIRouter(prefix="/p/{slug}")


async def typed_form(request: Request) -> dict[str, str]:
    """A form's text fields as they were typed; of one that is ticked several times, each after a comma."""
    form = await request.form()
    typed: dict[str, list[str]] = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            typed.setdefault(name, []).append(value)
    return {name: ",".join(values) for name, values in typed.items()}


TypedForm = Annotated[dict[str, str], Depends(typed_form)]


@router.get("")
def overview_page(
    request: Request, session: ReadSession, person: SignedIn, project: CurrentProject, figures: bool = False
) -> Response:
    """The loop at once; who labels and how far they agree where it is asked for, as the page itself does then."""
    if person.role == Role.labeler:
        return RedirectResponse(f"/p/{project.slug}/desk", 303)
    loop = overview.read_loop(session, project)
    if wants_fragment(request) and not figures:
        return render(request, "runs/_loop.html", overview=loop)
    team = quality.team_figures(session, project) if figures else None
    force = workers.workforce(session)
    return render(request, "runs/overview.html", overview=loop, figures=team, workforce=force)


@router.post("/rounds")
def start_next_round(session: WriteSession, admin: Admin, project: CurrentProject) -> Response:
    projects.start_next_round(session, project, by=admin)
    return RedirectResponse(f"/p/{project.slug}", 303)


@router.post("/rounds/targets")
def set_targets(session: WriteSession, admin: Admin, project: CurrentProject, typed: TypedForm) -> Response:
    overview.set_targets(session, project, typed, by=admin)
    return RedirectResponse(f"/p/{project.slug}", 303)


@router.get("/runs")
def run_list(request: Request, session: ReadSession, _: Researcher, project: CurrentProject) -> Response:
    lines = history.runs_of(session, project)
    return render(
        request,
        "runs/list.html",
        lines=lines,
        kinds=list(RunKind),
        waits=waiting.waits_of(session, [each.run for each in lines]),
        workforce=workers.workforce(session),
    )


@router.get("/runs/new/{kind}")
def new_run(
    request: Request,
    session: ReadSession,
    _: Admin,
    project: CurrentProject,
    kind: RunKind,
    clone: uuid.UUID | None = None,
    figures: bool = False,
) -> Response:
    """The form, prefilled: from the run that is cloned, or with a preset, at first what suits the newest model; how
    much there is to read where it is asked for, as the page itself does then."""
    if clone:
        typed = newform.typed_of(creation.plan_of(session, service.run_of_project(session, project, clone)))
    else:
        typed = newform.opening(session, project, kind, request.query_params)
    counts = newform.count_fresh(session, project, kind) if figures else None
    return _form(request, session, project, kind, typed, counts=counts)


def _form(
    request: Request,
    session: Session,
    project: Project,
    kind: RunKind,
    typed: dict[str, str],
    error: DomainError | None = None,
    counts: list[newform.Fresh] | None = None,
) -> Response:
    form = newform.build(session, project, kind, typed, error)
    return render(
        request,
        "runs/new.html",
        status=error.status if error else 200,
        form=form,
        counts=counts if form.reads_data else [],
        error=error,
        devices=workers.devices_in_words(session),
        workforce=workers.workforce(session),
    )


@router.post("/runs/new/{kind}")
def create_run(request: Request, admin: Admin, project: CurrentProject, kind: RunKind, typed: TypedForm) -> Response:
    try:
        with reading_one_state() as session:
            prepared = creation.prepare_run(session, project, kind, newform.plan_typed(kind, typed))
    except DomainError as error:
        with reading() as session:
            return _form(request, session, project, kind, typed, error)
    with writing() as session:
        run = creation.create_run(session, project, prepared, by=admin)
    return RedirectResponse(f"/p/{project.slug}/runs/{run.id}", 303)


@router.get("/runs/{run_id}")
def run_page(
    request: Request, session: ReadSession, _: Researcher, project: CurrentProject, run_id: uuid.UUID
) -> Response:
    run = service.run_of_project(session, project, run_id)
    template = "runs/_live.html" if wants_fragment(request) else "runs/run.html"
    return render(
        request, template, run=run, page=runpage.read_page(session, run), workforce=workers.workforce(session)
    )


@router.post("/runs/{run_id}/stop")
def stop_run(session: WriteSession, admin: Admin, project: CurrentProject, run_id: uuid.UUID) -> Response:
    run = service.run_of_project(session, project, run_id)
    service.ask_to_stop(session, run, by=admin)
    return RedirectResponse(f"/p/{project.slug}/runs/{run.id}", 303)


@router.post("/runs/{run_id}/priority")
def set_priority(
    session: WriteSession,
    admin: Admin,
    project: CurrentProject,
    run_id: uuid.UUID,
    priority: Annotated[Priority, Form()],
) -> Response:
    run = service.run_of_project(session, project, run_id)
    line.set_priority(session, run, priority, by=admin)
    return RedirectResponse(f"/p/{project.slug}/runs/{run.id}", 303)


@router.post("/runs/{run_id}/continue")
def continue_run(session: WriteSession, admin: Admin, project: CurrentProject, run_id: uuid.UUID) -> Response:
    run = service.run_of_project(session, project, run_id)
    service.resume(session, run, by=admin)
    return RedirectResponse(f"/p/{project.slug}/runs/{run.id}", 303)
