"""The labeler's desk, and the bench on which an item is worked on."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from app.accounts.access import ASKS_ITSELF
from app.accounts.deps import SignedIn
from app.core.db import reading, writing
from app.core.deps import SentForm, WriteSession
from app.core.errors import DomainError, Invalid
from app.core.outages import outages_in_words
from app.core.pages import render
from app.labeling import batch_routes, own_routes, prompt_routes, sorting_routes
from app.labeling.answers import feedback_for
from app.labeling.bench import bench_of, open_bench
from app.labeling.forms import checked, typed_in
from app.labeling.leases import lease_next
from app.labeling.models import AssignmentState
from app.labeling.progress import desk_state, why_empty
from app.labeling.schemas import Skip, Submission
from app.labeling.submissions import skip, submit
from app.projects.deps import CurrentProject, member_asking

router = APIRouter()


@router.get("/p/{slug}/desk", dependencies=[ASKS_ITSELF])
def desk(
    request: Request,
    slug: str,
    after: uuid.UUID | None = None,
    told: bool = False,
    stopped: bool = False,
) -> Response:
    """The next item, or why there is none. `after` names the submission whose receipt is shown on top; `told` and
    `stopped` thank for a report."""
    person, project = member_asking(request, slug)
    with writing() as session:  # not while the page is read and rendered: others wait for their turn to write
        assignment = lease_next(session, person, project)
    with reading() as session:
        state = desk_state(session, person, project)
        before = own_routes.receipt_of(session, person, project, after) if after else None
        bench = bench_of(session, assignment) if assignment else None
        rules = own_routes.rules_to_accept(session, person, bench) if bench else None
        empty = why_empty(session, person, project) if bench is None else None
    if after and before and before.teaches:
        return RedirectResponse(f"/p/{project.slug}/assignments/{after}", 303)
    thanks = "stopped" if stopped else "told" if told else ""
    if bench is None:
        return render(request, "labeling/desk_empty.html", state=state, empty=empty, before=before, thanks=thanks)
    if rules:
        return render(request, "labeling/accept.html", bench=bench, rules=rules)
    return own_routes.bench_page(request, bench, state=state, before=before, thanks=thanks)


@router.get("/p/{slug}/assignments/{assignment_id}", dependencies=[ASKS_ITSELF])
def assignment_page(request: Request, slug: str, assignment_id: uuid.UUID) -> Response:
    person, project = member_asking(request, slug)
    with reading() as session:
        bench = own_routes.bench_in_project(session, person, project, assignment_id)
        state, stored = (
            desk_state(session, person, project),
            own_routes.receipt_of(session, person, project, assignment_id),
        )
        rules = own_routes.rules_to_accept(session, person, bench)
        feedback = feedback_for(session, bench.assignment)
    if stored is not None or bench.assignment.state == AssignmentState.skipped:
        return render(request, "labeling/done.html", bench=bench, stored=stored, state=state, feedback=feedback)
    if rules:
        return render(request, "labeling/accept.html", bench=bench, rules=rules)
    return own_routes.bench_page(request, bench, state=state)


@router.post("/p/{slug}/assignments/{assignment_id}")
def submit_form(
    request: Request, person: SignedIn, project: CurrentProject, assignment_id: uuid.UUID, form: SentForm
) -> Response:
    typed = typed_in(form)
    try:
        with outages_in_words(), writing() as session:
            submit(session, person, assignment_id, checked(Submission, typed))
    except DomainError as error:
        with reading() as session:
            bench, state = open_bench(session, person, assignment_id), desk_state(session, person, project)
        key = typed.get("submission_key") or str(uuid.uuid4())
        return own_routes.bench_page(
            request, bench, status=error.status, state=state, typed=typed, error=error, submission_key=key
        )
    return RedirectResponse(f"/p/{project.slug}/desk?after={assignment_id}", 303)


@router.post("/p/{slug}/assignments/{assignment_id}/skip")
def skip_form(
    session: WriteSession,
    person: SignedIn,
    project: CurrentProject,
    assignment_id: uuid.UUID,
    reason: Annotated[str, Form()] = "",
    details: Annotated[str, Form()] = "",
) -> Response:
    words = ": ".join(part.strip() for part in (reason, details) if part.strip())
    if not words:
        raise Invalid("Please say why you skip this item.", mend="Go back and choose a reason; your draft is kept.")
    skip(session, person, assignment_id, Skip(reason=words[:5000]))
    return RedirectResponse(f"/p/{project.slug}/desk", 303)


# Behind those above, since an address is looked for in this order and labelers ask most.
for other in (own_routes, batch_routes, prompt_routes, sorting_routes):
    router.include_router(other.router)
