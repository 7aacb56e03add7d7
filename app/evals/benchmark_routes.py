"""The page of benchmarks: what models reached, measuring more of them, and the data that they are measured on."""

import uuid
from typing import Annotated

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from app.accounts.deps import Admin, Researcher
from app.benchmarks import service as benchmarks
from app.benchmarks.catalogue import WITH_FILES
from app.core.db import reading, reading_one_state, writing
from app.core.deps import ReadSession
from app.core.errors import DomainError, Invalid
from app.core.pages import render
from app.core.storage import get_artefacts
from app.evals import attachments, benchmark_figures, measure_form, results
from app.evals.figures import Figure, figure_named
from app.projects.deps import CurrentProject
from app.projects.models import Project
from app.prompts.uploads import what_was_sent
from app.registry import service as registry
from app.runs import service as runs
from app.runs import workers
from app.runs.routes import TypedForm

router = APIRouter(prefix="/p/{slug}/evaluations/benchmarks")


@router.get("")
def benchmarks_page(
    request: Request,
    session: ReadSession,
    _: Researcher,
    project: CurrentProject,
    model: uuid.UUID | None = None,
    run: uuid.UUID | None = None,
    seen: str = "",
) -> Response:
    """Of all models, of one, or of one run. `seen`: the stamp of figures that need not come again."""
    return _page(request, session, project, model=model, run=run, seen=seen)


def _page(
    request: Request,
    session: Session,
    project: Project,
    *,
    typed: dict[str, str] | None = None,
    error: DomainError | None = None,
    file_error: DomainError | None = None,
    chosen: str = "",
    model: uuid.UUID | None = None,
    run: uuid.UUID | None = None,
    seen: str = "",
) -> Response:
    wrong = error or file_error
    table = results.newest(session, project, models=[model] if model else [], run=run)
    under_way, unfinished = ([], []) if model or run else (
        results.under_way(session, project), results.unfinished(session, project)
    )  # fmt: skip
    return render(
        request,
        "evals/benchmarks.html",
        status=wrong.status if wrong else 200,
        table=table,
        stamp=f"{table.stamp}.{len(under_way)}.{len(unfinished)}",
        only_model=registry.model_of_project(session, project, model) if model else None,
        only_run=runs.run_of_project(session, project, run) if run else None,
        under_way=under_way,
        unfinished=unfinished,
        seen=seen,
        form=measure_form.build(session, project, typed or {}, error),
        error=error,
        file_error=file_error,
        chosen=chosen,
        files=benchmarks.files_in_use(session, project),
        known=WITH_FILES,
        workforce=workers.workforce(session),
    )


@router.post("")
def measure(request: Request, admin: Admin, project: CurrentProject, typed: TypedForm) -> Response:
    """A run for each of the models."""
    try:
        with reading_one_state() as session:
            prepared = measure_form.prepare(session, project, typed)
    except DomainError as error:
        with reading() as session:
            return _page(request, session, project, typed=typed, error=error)
    with writing() as session:
        measure_form.start(session, project, prepared, by=admin)
    return RedirectResponse(f"/p/{project.slug}/evaluations/benchmarks", 303)


@router.post("/files")
def add_file(
    request: Request,
    admin: Admin,
    project: CurrentProject,
    benchmark: Annotated[str, Form()] = "",
    file: Annotated[UploadFile | None, File()] = None,
) -> Response:
    """The data of a benchmark from now on."""
    try:
        if file is None or not file.filename:
            raise Invalid("No file is chosen.", fields={"file": "Choose one."})
        content, _, name = what_was_sent(file, "")
        sent = benchmarks.take_in(get_artefacts(), benchmark, name, content)
    except DomainError as error:
        with reading() as session:
            return _page(request, session, project, file_error=error, chosen=benchmark)
    with writing() as session:
        benchmarks.keep(session, project, sent, by=admin)
    return RedirectResponse(f"/p/{project.slug}/evaluations/benchmarks#data", 303)


@router.get("/results.csv")
def results_csv(session: ReadSession, _: Researcher, project: CurrentProject) -> Response:
    """The newest figure of each model in each setting, with all that it rests on."""
    return attachments.table(results.as_csv(results.newest(session, project)), f"{project.slug}-benchmarks")


@router.get("/results/{result_id}")
def result_page(
    request: Request, session: ReadSession, _: Researcher, project: CurrentProject, result_id: uuid.UUID
) -> Response:
    reached = results.result_of_project(session, project, result_id)
    has_items = bool(reached.row.storage_key) and get_artefacts().exists(reached.row.storage_key)
    return render(request, "evals/result.html", reached=reached, has_items=has_items,
                  decoding=results.said_decoding(reached.row))  # fmt: skip


@router.get("/figures/{key}.svg")
def figure_svg(request: Request, session: ReadSession, _: Researcher, project: CurrentProject, key: str) -> Response:
    return attachments.drawing(request, _figure(session, project, key), f"{project.slug}-{key}")


@router.get("/figures/{key}.csv")
def figure_csv(session: ReadSession, _: Researcher, project: CurrentProject, key: str) -> Response:
    return attachments.table(benchmark_figures.as_csv(_figure(session, project, key)), f"{project.slug}-{key}")


def _figure(session: Session, project: Project, key: str) -> Figure:
    made = benchmark_figures.figures_by_prompt(results.newest(session, project))
    return figure_named(made, key, page="the evaluations page")
