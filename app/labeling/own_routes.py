"""A labeler's own pages beside the bench: the guidelines to accept, what they made, corrections, reports."""

import uuid
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from app.accounts.deps import SignedIn
from app.accounts.models import Person
from app.core.db import reading, writing
from app.core.deps import ReadSession, SentForm, WriteSession
from app.core.errors import Conflict, DomainError, NotFound
from app.core.outages import outages_in_words
from app.core.pages import render
from app.labeling import cards
from app.labeling.amendments import (
    amend,
    amendable_until,
    can_amend,
    how_it_came_about,
    own_and_amendable,
    stored_as_draft,
)
from app.labeling.answers import feedback_for
from app.labeling.bench import Bench, Receipt, newest_label, open_bench, receipt
from app.labeling.forms import checked, typed_in
from app.labeling.history import own_history
from app.labeling.models import ReportKind
from app.labeling.progress import count_submitted, desk_state
from app.labeling.reports import report
from app.labeling.schemas import Amendment, Report
from app.projects import acceptance
from app.projects.deps import CurrentProject
from app.projects.models import Project

router = APIRouter()


def receipt_of(session: Session, person: Person, project: Project, assignment_id: uuid.UUID) -> Receipt | None:
    """What is stored, and whether it may still be corrected."""
    assignment, may_amend = own_and_amendable(session, person, assignment_id, project)
    stored = receipt(session, assignment)
    if stored is None:
        return None
    # Once a training item's answer was shown, what was submitted stays: what can be corrected teaches nothing.
    teaches = not may_amend and feedback_for(session, assignment) is not None
    return replace(stored, can_amend=may_amend, teaches=teaches)


def rules_to_accept(session: Session, person: Person, bench: Bench) -> dict[str, Any] | None:
    """What the page that asks to accept the guidelines shows; none when they are accepted."""
    guidelines = bench.guidelines
    if guidelines is None or not acceptance.must_accept(session, person, bench.project, guidelines):
        return None
    before = acceptance.accepted_before(session, person, guidelines)
    return {"before": before, "changed": acceptance.changes(before, guidelines) if before else []}


@router.post("/p/{slug}/guidelines/{guidelines_id}/accept")
def accept_guidelines(
    session: WriteSession, person: SignedIn, project: CurrentProject, guidelines_id: uuid.UUID
) -> Response:
    acceptance.accept(session, person, project, guidelines_id)
    return RedirectResponse(f"/p/{project.slug}/desk", 303)


@router.get("/p/{slug}/history")
def history_page(
    request: Request,
    session: ReadSession,
    person: SignedIn,
    project: CurrentProject,
    search: Annotated[str, Query(max_length=200)] = "",
    before: str = "",
) -> Response:
    history = own_history(session, person, project, search=search, before=before)
    return render(
        request,
        "labeling/history.html",
        history=history,
        search=search,
        is_first_page=not before,
        state=desk_state(session, person, project),
        submitted_ever=count_submitted(session, person, project),
    )


@router.get("/p/{slug}/assignments/{assignment_id}/amend")
def amend_page(request: Request, person: SignedIn, project: CurrentProject, assignment_id: uuid.UUID) -> Response:
    with reading() as session:
        bench = bench_in_project(session, person, project, assignment_id)
        newest = newest_label(session, bench.assignment)
        until = amendable_until(bench.assignment, project, purpose=bench.purpose)
        if newest is None or not can_amend(session, bench.assignment, project):
            raise Conflict("This can't be corrected (any more).", mend="What you had submitted counts as it is stored.")
        typed = stored_as_draft(session, bench.assignment) | how_it_came_about(newest, bench.assignment)
        state = desk_state(session, person, project)
    return bench_page(request, bench, typed=typed, amends=str(newest.id), until=until, state=state)


@router.post("/p/{slug}/assignments/{assignment_id}/amend")
def amend_form(
    request: Request, person: SignedIn, project: CurrentProject, assignment_id: uuid.UUID, form: SentForm
) -> Response:
    typed = typed_in(form)
    try:
        with outages_in_words(), writing() as session:
            amend(session, person, assignment_id, checked(Amendment, typed))
    except DomainError as error:
        with reading() as session:
            bench, state = (
                bench_in_project(session, person, project, assignment_id),
                desk_state(session, person, project),
            )
            until = amendable_until(bench.assignment, project, purpose=bench.purpose)
        amends = typed.get("amends", "")
        return bench_page(
            request, bench, status=error.status, typed=typed, amends=amends, until=until, state=state, error=error
        )
    return RedirectResponse(f"/p/{project.slug}/desk?after={assignment_id}", 303)


def bench_in_project(session: Session, person: Person, project: Project, assignment_id: uuid.UUID) -> Bench:
    bench = open_bench(session, person, assignment_id)
    if bench.project.id != project.id:
        raise NotFound("There is no such assignment of yours.", mend="Go back to your desk.")
    return bench


def bench_page(request: Request, bench: Bench, *, status: int = 200, **values: Any) -> Response:
    """The page to work on or to correct. `typed` is what a refused form held or what is stored, else the draft."""
    values.setdefault("typed", bench.assignment.draft or {})
    values.setdefault("submission_key", str(uuid.uuid4()))
    values = {"error": None, "before": None, "thanks": "", "amends": "", "until": None, **values}
    template = "labeling/ranking.html" if bench.is_ranking else "labeling/demonstration.html"
    return render(request, template, status=status, bench=bench, cards=cards, **values)


@router.post("/p/{slug}/assignments/{assignment_id}/report")
def report_form(
    person: SignedIn,
    project: CurrentProject,
    assignment_id: uuid.UUID,
    kind: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
    details: Annotated[str, Form()] = "",
) -> Response:
    sent = checked(Report, {"kind": kind, "reason": reason, "details": details})
    with writing() as session:
        bench_in_project(session, person, project, assignment_id)
        report(session, person, assignment_id, sent)
    stopped = "stopped" if sent.kind == ReportKind.stop_cord else "told"
    return RedirectResponse(f"/p/{project.slug}/desk?{stopped}=1", 303)
