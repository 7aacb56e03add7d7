"""The prompt pool's pages: the list, and the import with its preview."""

from typing import Annotated, Literal

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import RedirectResponse, Response

from app.accounts.deps import Admin, Researcher
from app.core.deps import ReadSession, WriteSession
from app.core.errors import DomainError
from app.core.pages import render
from app.core.storage import get_artefacts
from app.projects.deps import CurrentProject
from app.projects.models import Project
from app.prompts import service, uploads
from app.prompts.models import Split, UseCase
from app.prompts.readers import ImportFormat, read_rows
from app.prompts.texts import read_documents
from app.prompts.uploads import what_was_sent

router = APIRouter(prefix="/p/{slug}/prompts")

Nothing = Literal[""]


@router.get("")
def prompt_list(
    request: Request,
    session: ReadSession,
    _: Researcher,
    project: CurrentProject,
    split: Split | Nothing = "",
    use_case: UseCase | Nothing = "",
    q: str = "",
    page: int = 1,
    taken: int | None = None,
) -> Response:
    wanted = service.PromptFilter(split or None, use_case or None, q)
    return render(
        request,
        "prompts/list.html",
        found=service.list_prompts(session, project, wanted, page=page),
        counts=service.count_by_split(session, project),
        wanted=wanted,
        splits=list(Split),
        use_cases=list(UseCase),
        taken=taken,
    )


@router.get("/import")
def import_page(request: Request, _: Admin, project: CurrentProject) -> Response:
    return _import_page(request)


def _import_page(request: Request, *, status: int = 200, typed: str = "", **values: object) -> Response:
    blank: dict[str, object] = {"error": None, "report": None, "upload": "", "form": "", "source": ""}
    return render(request, "prompts/import.html", status=status, typed=typed, **{**blank, **values})


@router.post("/import")
def preview(
    request: Request,
    session: ReadSession,
    _: Admin,
    project: CurrentProject,
    file: Annotated[UploadFile | None, File()] = None,
    pasted: Annotated[str, Form()] = "",
) -> Response:
    """Read the file or the pasted text and tell what an import would do. Nothing is imported yet."""
    try:
        content, form, source = what_was_sent(file, pasted)
        report = service.check_import(session, project, read_rows(content, form))
    except DomainError as error:
        return _import_page(request, status=error.status, typed=pasted, error=error)
    upload = uploads.keep_upload(get_artefacts(), project.id, content) if report.taken else ""
    return _import_page(request, typed=pasted, report=report, upload=upload, form=form.value, source=source)


@router.post("/import/confirm")
def confirm(
    request: Request,
    session: WriteSession,
    admin: Admin,
    project: CurrentProject,
    upload: Annotated[str, Form()],
    form: Annotated[ImportFormat, Form()],
    source: Annotated[str, Form()] = "upload",
) -> Response:
    try:
        rows = read_rows(uploads.read_upload(get_artefacts(), project.id, upload), form)
        report = service.import_prompts(session, project, rows, person=admin, source=source[:200])
    except DomainError as error:
        return _import_page(request, status=error.status, error=error)
    session.commit()  # the upload goes only after its prompts are safe
    uploads.forget_upload(get_artefacts(), project.id, upload)
    return RedirectResponse(f"/p/{project.slug}/prompts?taken={len(report.taken)}", 303)


@router.get("/texts")
def texts_page(request: Request, session: ReadSession, _: Researcher, project: CurrentProject) -> Response:
    return _texts_page(request, session, project)


def _texts_page(
    request: Request, session: ReadSession, project: Project, *, status: int = 200, **values: object
) -> Response:
    blank: dict[str, object] = {"error": None, "taken": None, "problems": [], "typed": ""}
    counts = service.count_texts(session, project)
    return render(request, "prompts/texts.html", status=status, counts=counts, **{**blank, **values})


@router.post("/texts")
def import_texts(
    request: Request,
    session: WriteSession,
    admin: Admin,
    project: CurrentProject,
    file: Annotated[UploadFile | None, File()] = None,
    pasted: Annotated[str, Form()] = "",
) -> Response:
    try:
        content, form, source = what_was_sent(file, pasted)
        documents, problems = read_documents(content, form)
    except DomainError as error:
        return _texts_page(request, session, project, status=error.status, error=error, typed=pasted)
    taken = service.import_texts(session, project, documents, person=admin, source=source)
    return _texts_page(request, session, project, taken=taken, problems=problems)
