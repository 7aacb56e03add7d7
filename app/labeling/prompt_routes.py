"""The page on which labelers write prompts."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import FormData

from app.accounts.deps import SignedIn
from app.accounts.models import Person
from app.core.db import reading, writing
from app.core.deps import Number, SentForm
from app.core.errors import DomainError
from app.core.pages import render
from app.labeling.forms import checked
from app.labeling.prompt_writing import MOST_EXAMPLES, PromptSent, count_written, write_prompt
from app.projects.deps import CurrentProject
from app.projects.models import Project
from app.prompts.models import PromptKind, UseCase

router = APIRouter()


@router.get("/p/{slug}/prompts/write")
def write_page(request: Request, person: SignedIn, project: CurrentProject, added: Number = 0) -> Response:
    return _page(request, person, project, added=added)


def _page(request: Request, person: Person, project: Project, *, status: int = 200, **values: Any) -> Response:
    with reading() as session:
        written = count_written(session, project, person.id)
    values = {"typed": {}, "error": None, "added": 0, **values}
    kinds = [PromptKind.plain, PromptKind.few_shot, PromptKind.user_based]
    return render(
        request,
        "labeling/write_prompt.html",
        status=status,
        written=written,
        kinds=kinds,
        use_cases=list(UseCase),
        most_examples=MOST_EXAMPLES,
        **values,
    )


@router.post("/p/{slug}/prompts/write")
def write(request: Request, person: SignedIn, project: CurrentProject, form: SentForm) -> Response:
    typed = _typed(form)
    try:
        with writing() as session:
            made = write_prompt(session, project, person, checked(PromptSent, typed))
    except DomainError as error:
        return _page(request, person, project, status=error.status, typed=typed, error=error)
    return RedirectResponse(f"/p/{project.slug}/prompts/write?added={made.prompts}", 303)


def _typed(form: FormData) -> dict[str, Any]:
    """The form in the shape of `PromptSent`; examples that are empty altogether are left out."""
    typed: dict[str, Any] = {name: str(form.get(name, "")) for name in ("kind", "use_case", "text")}
    if typed["kind"] == PromptKind.few_shot.value:
        pairs = [
            {"query": str(form.get(f"query_{number}", "")), "answer": str(form.get(f"answer_{number}", ""))}
            for number in range(1, MOST_EXAMPLES + 1)
        ]
        typed["examples"] = [pair for pair in pairs if pair["query"].strip() or pair["answer"].strip()]
    return typed
