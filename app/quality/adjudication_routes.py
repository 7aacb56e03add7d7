"""Disagreements: the queue, and the page on which a lead decides one."""

import uuid
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from app.accounts.deps import Researcher
from app.accounts.models import Person
from app.core.deps import Number, ReadSession, SentForm, WriteSession
from app.core.errors import DomainError, Invalid
from app.core.pages import render
from app.labeling.forms import checked, typed_in
from app.projects.deps import CurrentProject
from app.projects.models import Project
from app.quality.adjudication import DecisionGiven, Sheet, decide, open_sheet
from app.quality.disagreements import DEFAULT_BELOW, THRESHOLDS, read_queue

router = APIRouter(prefix="/p/{slug}/labeling/disagreements")


@router.get("")
def queue(
    request: Request,
    session: ReadSession,
    lead: Researcher,
    project: CurrentProject,
    below: Number = DEFAULT_BELOW,
    after: uuid.UUID | None = None,
    figures: bool = False,
) -> Response:
    """`after` names the item that was decided just now. The items follow the page, which asks for them with figures."""
    if below not in THRESHOLDS:
        raise Invalid(f"{below} % is none of the limits.", mend=f"Choose one of {', '.join(map(str, THRESHOLDS))}.")
    before = open_sheet(session, project, after, by=lead) if after else None
    found = read_queue(session, project, below=below) if figures else None
    return render(request, "quality/disagreements.html", queue=found, below=below, limits=THRESHOLDS, before=before)


@router.get("/{item_id}")
def decision_page(
    request: Request, session: ReadSession, lead: Researcher, project: CurrentProject, item_id: uuid.UUID
) -> Response:
    return _page(request, open_sheet(session, project, item_id, by=lead))


def _page(
    request: Request, sheet: Sheet, *, error: DomainError | None = None, typed: dict[str, Any] | None = None
) -> Response:
    return render(
        request,
        "quality/decision.html",
        status=error.status if error else 200,
        bench=sheet,
        error=error,
        typed=typed if typed is not None else _as_decided(sheet),
    )


def _as_decided(sheet: Sheet) -> dict[str, Any]:
    """An earlier decision, to be changed; an empty form where there is none."""
    if sheet.decision is None:
        return {}
    ranking = sheet.decision.ranking
    return {"ranks": sheet.decision.ranks, "cannot_rank": ranking.cannot_rank, "note": ranking.note}


@router.post("/{item_id}")
def store_decision(
    request: Request, session: WriteSession, lead: Researcher, project: CurrentProject, item_id: uuid.UUID,
    form: SentForm,
) -> Response:  # fmt: skip
    typed = typed_in(form)
    try:
        decide(session, project, item_id, checked(DecisionGiven, typed), by=lead)
    except DomainError as error:
        return _refused(request, session, project, item_id, lead, error, typed)
    return RedirectResponse(f"/p/{project.slug}/labeling/disagreements?after={item_id}", 303)


def _refused(
    request: Request, session: Session, project: Project, item_id: uuid.UUID, lead: Person, error: DomainError,
    typed: dict[str, Any],
) -> Response:  # fmt: skip
    sheet = open_sheet(session, project, item_id, by=lead)
    return _page(request, sheet, error=error, typed=typed)
