"""The page on which held prompts are decided about one by one, by keyboard."""

import uuid
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from app.accounts.deps import Admin
from app.core.deps import ReadSession, WriteSession
from app.core.errors import DomainError
from app.core.pages import render
from app.projects.deps import CurrentProject
from app.projects.models import Project
from app.prompts.intake import report, review, service, settling
from app.prompts.models import HeldFor

router = APIRouter(prefix="/p/{slug}/prompts/imports/{import_id}/review/{reason}")


@router.get("")
def review_page(
    request: Request,
    session: ReadSession,
    _: Admin,
    project: CurrentProject,
    import_id: uuid.UUID,
    reason: HeldFor,
    after: uuid.UUID | None = None,
) -> Response:
    return _page(request, session, project, import_id, reason, after=after)


def _page(
    request: Request,
    session: Session,
    project: Project,
    import_id: uuid.UUID,
    reason: HeldFor,
    *,
    after: uuid.UUID | None,
    error: DomainError | None = None,
) -> Response:
    """The next prompt that is held, with what was found in it."""
    row = service.import_of_project(session, project, import_id)
    found = settling.held_prompts(session, row, reason, after=after, limit=1)
    return render(
        request, "prompts/import_review.html", status=error.status if error else 200, error=error, row=row,
        reason=reason, prompt=found[0] if found else None, pieces=review.pieces, after=after, report=report,
        left=report.standing(session, row).held.get(reason, 0),
        start=f"/p/{project.slug}/prompts/imports/{row.id}",
    )  # fmt: skip


@router.post("")
def review_prompt(
    request: Request,
    session: WriteSession,
    admin: Admin,
    project: CurrentProject,
    import_id: uuid.UUID,
    reason: HeldFor,
    prompt: Annotated[uuid.UUID, Form()],
    decision: Annotated[review.Decision, Form()],
    after: Annotated[uuid.UUID | Literal[""], Form()] = "",
) -> Response:
    """Decide about one, and go on with the next."""
    row = service.import_of_project(session, project, import_id)
    try:
        review.decide(session, row, reason, prompt, decision, by=admin)
    except DomainError as error:
        return _page(request, session, project, import_id, reason, after=after or None, error=error)
    return RedirectResponse(f"{request.url.path}?after={after}" if after else request.url.path, 303)
