"""The prompt pool's pages: the list, and the plain texts."""

from typing import Annotated, Literal

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import Response

from app.accounts.deps import Admin, Researcher
from app.core.deps import Number, ReadSession, WriteSession
from app.core.errors import DomainError
from app.core.pages import render
from app.projects.deps import CurrentProject
from app.projects.models import Project
from app.prompts import service
from app.prompts.models import Split, UseCase
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
    page: Number = 1,
) -> Response:
    wanted = service.PromptFilter(split or None, use_case or None, q)
    return render(
        request,
        "prompts/list.html",
        found=service.list_prompts(session, project, wanted, page=page),
        counts=service.count_by_split(session, project),
        unsorted=service.count_unsorted(session, project),
        wanted=wanted,
        splits=list(Split),
        use_cases=list(UseCase),
    )


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
