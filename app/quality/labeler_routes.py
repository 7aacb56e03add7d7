"""A labeler's page, and what a lead does there: pause, leave work out of new snapshots, let it count again."""

import uuid
from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from app.accounts.deps import Researcher
from app.accounts.models import Person, PersonState
from app.core.deps import ReadSession, WriteSession
from app.core.errors import DomainError, Invalid
from app.core.pages import render
from app.projects import pauses
from app.projects.deps import CurrentProject
from app.projects.models import Project
from app.quality import exclusions, labeler

router = APIRouter(prefix="/p/{slug}/labeling/labelers/{person_id}")


@router.get("")
def labeler_page(
    request: Request,
    session: ReadSession,
    lead: Researcher,
    project: CurrentProject,
    person_id: uuid.UUID,
    figures: bool = False,
) -> Response:
    """What a lead does here at once; the figures where they are asked for, as the page itself does then."""
    who = labeler.labeler_of(session, project, person_id)
    page = labeler.labeler_page(session, project, who) if figures else None
    return _page(request, session, lead, project, who, page=page)


def _page(
    request: Request,
    session: Session,
    lead: Person,
    project: Project,
    who: Person,
    *,
    page: labeler.LabelerPage | None = None,
    error: DomainError | None = None,
    typed: dict[str, Any] | None = None,
) -> Response:
    return render(
        request,
        "quality/labeler.html",
        status=error.status if error else 200,
        who=who,
        page=page,
        exclusions=labeler.left_out_of(session, project, who),
        left_out=exclusions.count_left_out(session, project, who),
        may_pause=pauses.may_pause(who, by=lead),
        pauses=pauses.pauses_of(session, project, who),
        error=error,
        typed=typed or {},
    )


@router.post("/state")
def change_state(
    request: Request,
    session: WriteSession,
    lead: Researcher,
    project: CurrentProject,
    person_id: uuid.UUID,
    state: Annotated[PersonState, Form()],
    reason: Annotated[str, Form()] = "",
) -> Response:
    who = labeler.labeler_of(session, project, person_id)
    try:
        labeler.change_state(session, who, state, reason=reason, by=lead)
    except DomainError as error:
        return _page(request, session, lead, project, who, error=error, typed={"form": "state", "reason": reason})
    return RedirectResponse(f"/p/{project.slug}/labeling/labelers/{who.id}", 303)


@router.post("/pause")
def pause(
    request: Request,
    session: WriteSession,
    lead: Researcher,
    project: CurrentProject,
    person_id: uuid.UUID,
    reason: Annotated[str, Form()] = "",
) -> Response:
    """No new items in this project."""
    who = labeler.labeler_of(session, project, person_id)
    try:
        pauses.pause(session, project, who, reason=reason, by=lead)
    except DomainError as error:
        return _page(request, session, lead, project, who, error=error, typed={"form": "pause", "reason": reason})
    return RedirectResponse(f"/p/{project.slug}/labeling/labelers/{who.id}#pause", 303)


@router.post("/resume")
def resume(session: WriteSession, lead: Researcher, project: CurrentProject, person_id: uuid.UUID) -> Response:
    pauses.resume(session, project, labeler.labeler_of(session, project, person_id), by=lead)
    return RedirectResponse(f"/p/{project.slug}/labeling/labelers/{person_id}#pause", 303)


@router.post("/exclusions")
def exclude(
    request: Request,
    session: WriteSession,
    lead: Researcher,
    project: CurrentProject,
    person_id: uuid.UUID,
    reason: Annotated[str, Form()] = "",
    first_day: Annotated[str, Form()] = "",
    last_day: Annotated[str, Form()] = "",
) -> Response:
    who = labeler.labeler_of(session, project, person_id)
    typed = {"form": "exclude", "reason": reason, "first_day": first_day, "last_day": last_day}
    try:
        begins, ends = _day("first_day", first_day), _day("last_day", last_day)
        bounds = {"labels_from": labeler.day_start(begins), "labels_until": labeler.day_end(ends)}
        exclusions.exclude(session, project, who, reason=reason, by=lead, **bounds)
    except DomainError as error:
        return _page(request, session, lead, project, who, error=error, typed=typed)
    return RedirectResponse(f"/p/{project.slug}/labeling/labelers/{who.id}#exclusions", 303)


def _day(name: str, typed: str) -> date | None:
    """A day as a date field sends it; an empty field is no bound."""
    if not typed.strip():
        return None
    try:
        day = date.fromisoformat(typed.strip())
        day + timedelta(days=1)  # the last day there is has none behind it, and so no end
        return day
    except (ValueError, OverflowError) as error:
        raise Invalid(
            f"{typed!r} is not a day.", fields={name: "Write it as 2026-01-31, or leave it empty."}
        ) from error


@router.post("/exclusions/{exclusion_id}/lift")
def lift(
    session: WriteSession, lead: Researcher, project: CurrentProject, person_id: uuid.UUID, exclusion_id: uuid.UUID
) -> Response:
    exclusions.lift(session, project, exclusion_id, by=lead)
    return RedirectResponse(f"/p/{project.slug}/labeling/labelers/{person_id}#exclusions", 303)
