"""Screening: the candidates' own form, and the page on which an admin grades and decides."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from app.accounts.deps import Admin, SignedIn
from app.core.deps import ReadSession, SentForm, WriteSession
from app.core.errors import DomainError
from app.core.pages import render
from app.labeling import screening
from app.labeling.forms import checked
from app.labeling.self_assessment import TOPICS, SelfAssessed, assess, assessment_of
from app.projects.deps import CurrentProject
from app.projects.models import Project
from app.prompts.service import prompts_by_id

router = APIRouter(prefix="/p/{slug}")


@router.get("/self-assessment")
def self_assessment_page(
    request: Request, session: ReadSession, person: SignedIn, project: CurrentProject, stored: bool = False
) -> Response:
    kept = assessment_of(session, person, project)
    return _self_assessment_page(request, typed=kept.answers if kept else {}, stored=stored)


def _self_assessment_page(request: Request, *, status: int = 200, **values: Any) -> Response:
    values = {"error": None, "stored": False, "typed": {}, **values}
    return render(request, "labeling/self_assessment.html", status=status, topics=TOPICS, **values)


@router.post("/self-assessment")
def self_assess(
    request: Request, session: WriteSession, person: SignedIn, project: CurrentProject, form: SentForm
) -> Response:
    typed = {**dict(form), "topics": form.getlist("topics"), "avoided": form.getlist("avoided")}
    try:
        assess(session, person, project, checked(SelfAssessed, typed))
    except DomainError as error:
        return _self_assessment_page(request, status=error.status, error=error, typed=typed)
    return RedirectResponse(f"/p/{project.slug}/self-assessment?stored=true", 303)


@router.get("/labeling/screening")
def screening_page(request: Request, session: ReadSession, _: Admin, project: CurrentProject) -> Response:
    found = screening.candidates(session, project)
    return render(request, "labeling/screening.html", candidates=found, cuts=_CUTS, topics=TOPICS)


_CUTS = {"flags": screening.FLAGS_CUT, "rankings": screening.RANKINGS_CUT, "grade": screening.GRADE_CUT}


@router.get("/labeling/screening/{person_id}")
def candidate_page(
    request: Request, session: ReadSession, _: Admin, project: CurrentProject, person_id: uuid.UUID
) -> Response:
    return _candidate_page(request, session, project, person_id)


def _candidate_page(
    request: Request,
    session: Session,
    project: Project,
    person_id: uuid.UUID,
    *,
    status: int = 200,
    error: DomainError | None = None,
) -> Response:
    who = screening.candidate(session, project, person_id)
    prompts = prompts_by_id(session, [each.demonstration.prompt_id for each in who.written])
    return render(
        request,
        "labeling/candidate.html",
        status=status,
        who=who,
        prompts=prompts,
        cuts=_CUTS,
        topics=TOPICS,
        decisions=list(screening.Decision),
        error=error,
    )


@router.post("/labeling/screening/{person_id}/grades/{demonstration_id}")
def grade(
    request: Request,
    session: WriteSession,
    admin: Admin,
    project: CurrentProject,
    person_id: uuid.UUID,
    demonstration_id: uuid.UUID,
    grade: Annotated[str, Form()] = "",
) -> Response:
    try:
        screening.grade(session, project, demonstration_id, grade, by=admin)
    except DomainError as error:
        return _candidate_page(request, session, project, person_id, status=error.status, error=error)
    return RedirectResponse(f"/p/{project.slug}/labeling/screening/{person_id}#written-{demonstration_id}", 303)


@router.post("/labeling/screening/{person_id}/decision")
def decide(
    session: WriteSession,
    admin: Admin,
    project: CurrentProject,
    person_id: uuid.UUID,
    decision: Annotated[screening.Decision, Form()],
) -> Response:
    screening.decide(session, project, person_id, decision, by=admin)
    return RedirectResponse(f"/p/{project.slug}/labeling/screening/{person_id}", 303)
