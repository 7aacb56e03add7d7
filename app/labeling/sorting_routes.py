"""The page on which labelers say what prompts of unknown use case are for."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from app.accounts.deps import SignedIn
from app.accounts.models import Person
from app.core.db import reading, writing
from app.core.deps import ReadSession
from app.core.errors import DomainError, Forbidden, Invalid
from app.core.pages import render
from app.labeling import sorting
from app.projects.deps import CurrentProject
from app.projects.models import Project
from app.prompts.models import UseCase

router = APIRouter(prefix="/p/{slug}/prompts/sort")


@router.get("")
def sort_page(
    request: Request,
    session: ReadSession,
    person: SignedIn,
    project: CurrentProject,
    again: uuid.UUID | None = None,
    skipped: uuid.UUID | None = None,
    last: uuid.UUID | None = None,
) -> Response:
    """`again`: a prompt to sort anew. `last`: the one that was sorted just now."""
    return _page(request, session, person, project, again=again, skipped=skipped, last=last)


def _page(
    request: Request, session: Session, person: Person, project: Project, *, again: uuid.UUID | None = None,
    skipped: uuid.UUID | None = None, last: uuid.UUID | None = None, error: DomainError | None = None,
) -> Response:  # fmt: skip
    values: dict[str, Any] = {"error": error, "use_cases": list(UseCase), "prompt": None, "left": 0, "before": None}
    try:
        sorting.refuse_who_may_not(session, project, person)
    except Forbidden as refused:
        return render(request, "labeling/sort.html", status=refused.status, **values | {"error": refused})
    asked = sorting.shown_before(session, project, person, again) if again else None
    return render(
        request,
        "labeling/sort.html",
        status=error.status if error else 200,
        **values | {
            "prompt": asked or sorting.next_to_sort(session, project, person, skipped=skipped),
            "left": sorting.count_to_sort(session, project, person),
            "before": sorting.own_word(session, person, last) if last else None,
        },
    )  # fmt: skip


@router.post("")
def sort_prompt(
    request: Request,
    person: SignedIn,
    project: CurrentProject,
    prompt_id: Annotated[uuid.UUID, Form()],
    use_case: Annotated[str, Form()] = "",
) -> Response:
    try:
        with writing() as session:
            sorting.say_use_case(session, project, person, prompt_id, _checked(use_case))
    except DomainError as error:
        again = prompt_id if isinstance(error, Invalid) else None
        with reading() as session:
            return _page(request, session, person, project, again=again, error=error)
    return RedirectResponse(f"/p/{project.slug}/prompts/sort?last={prompt_id}", 303)


def _checked(said: str) -> UseCase:
    try:
        return UseCase(said)
    except ValueError:
        raise Invalid("Please choose what the prompt is for.", fields={"use_case": "Choose one of these."}) from None
