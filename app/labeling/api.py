"""The desk as JSON: for the pages' own scripts and for simulated labelers."""

import uuid
from dataclasses import asdict

from fastapi import APIRouter, Request, Response

from app.accounts.access import ASKS_ITSELF
from app.accounts.deps import SignedIn, person_asking
from app.core.base_path import below
from app.core.db import reading, writing
from app.core.deps import WriteSession
from app.labeling.amendments import amend
from app.labeling.bench import Bench, bench_of
from app.labeling.leases import count_left, lease_ahead, lease_next
from app.labeling.models import Assignment
from app.labeling.reports import report
from app.labeling.schemas import (
    AheadRead,
    Amendment,
    AssignmentRead,
    CompletionRead,
    DeskRead,
    Draft,
    FlagRead,
    GuidelinesRead,
    LeaseRead,
    RatingSchemaRead,
    ReceiptRead,
    Report,
    ScaleRead,
    Skip,
    Submission,
)
from app.labeling.submissions import beat, save_draft, skip, submit
from app.projects.acceptance import accept, must_accept
from app.projects.deps import CurrentProject, member_asking
from app.projects.models import Guidelines
from app.projects.pauses import pause_of

router = APIRouter(prefix="/api/v1")


@router.post("/assignments/{assignment_id}/submit", response_model=ReceiptRead, dependencies=[ASKS_ITSELF])
def submit_assignment(request: Request, assignment_id: uuid.UUID, body: Submission) -> Response:
    with reading() as session:
        person = person_asking(session, request)
    with writing() as session:
        stored = submit(session, person, assignment_id, body)
    read = ReceiptRead(assignment=stored.assignment_id, ranks=stored.ranks, words=stored.words)
    # Written here: FastAPI would send what it has checked already to another thread, to be checked again.
    return Response(read.model_dump_json(), media_type="application/json")


@router.get("/projects/{slug}/desk")
def desk(person: SignedIn, project: CurrentProject) -> DeskRead:
    """The assignment this person holds, else the next one."""
    with writing() as session:
        assignment = lease_next(session, person, project)
    with reading() as session:
        bench = bench_of(session, assignment) if assignment else None
        remaining = count_left(session, person, project)
        pause = pause_of(session, project, person) if bench is None else None
        accepts_first = bench is not None and must_accept(session, person, project, bench.guidelines)
    if bench and bench.guidelines and accepts_first:
        return DeskRead(assignment=None, guidelines_to_accept=_rules(bench.guidelines), remaining=remaining)
    paused = pause.reason if pause else None
    return DeskRead(assignment=_read(bench) if bench else None, remaining=remaining, paused=paused)


@router.post("/projects/{slug}/guidelines/{guidelines_id}/accept")
def accept_guidelines(
    session: WriteSession, person: SignedIn, project: CurrentProject, guidelines_id: uuid.UUID
) -> GuidelinesRead:
    """Say that you have read this version and work by it."""
    return _rules(accept(session, person, project, guidelines_id))


@router.post("/assignments/{assignment_id}/amendment/submit")
def amend_assignment(person: SignedIn, assignment_id: uuid.UUID, body: Amendment) -> ReceiptRead:
    """Hand in anew, in place of what was submitted before; that is kept."""
    with writing() as session:
        stored = amend(session, person, assignment_id, body)
    return ReceiptRead(assignment=stored.assignment_id, ranks=stored.ranks, words=stored.words)


@router.post("/assignments/{assignment_id}/report", status_code=204)
def report_assignment(session: WriteSession, person: SignedIn, assignment_id: uuid.UUID, body: Report) -> None:
    """Tell the leads what is wrong with an item, or stop its whole batch."""
    report(session, person, assignment_id, body)


@router.post("/projects/{slug}/desk/ahead", dependencies=[ASKS_ITSELF])
def desk_ahead(request: Request, slug: str) -> AheadRead:
    """Take the item behind the one at hand, so that its page can be fetched before it is needed."""
    person, project = member_asking(request, slug)
    with writing() as session:
        assignment = lease_ahead(session, person, project)
    # A page goes there as it stands, unlike a script, which puts the server's address before it.
    return AheadRead(page=below(f"/p/{project.slug}/assignments/{assignment.id}") if assignment else None)


@router.post("/assignments/{assignment_id}/skip")
def skip_assignment(session: WriteSession, person: SignedIn, assignment_id: uuid.UUID, body: Skip) -> LeaseRead:
    return _lease(skip(session, person, assignment_id, body))


@router.put("/assignments/{assignment_id}/draft")
def put_draft(session: WriteSession, person: SignedIn, assignment_id: uuid.UUID, body: Draft) -> LeaseRead:
    return _lease(save_draft(session, person, assignment_id, body))


@router.post("/assignments/{assignment_id}/heartbeat")
def heartbeat(session: WriteSession, person: SignedIn, assignment_id: uuid.UUID) -> LeaseRead:
    return _lease(beat(session, person, assignment_id))


def _rules(guidelines: Guidelines) -> GuidelinesRead:
    return GuidelinesRead(id=guidelines.id, version=guidelines.version, text=guidelines.text)


def _lease(assignment: Assignment) -> LeaseRead:
    return LeaseRead(
        state=assignment.state.value, lease_until=assignment.lease_until, draft_saved_at=assignment.draft_saved_at
    )


def _read(bench: Bench) -> AssignmentRead:
    assignment = bench.assignment
    return AssignmentRead(
        id=assignment.id,
        kind=bench.kind.value,
        submission_key=str(uuid.uuid4()),
        prompt=bench.prompt.messages,
        completions=[CompletionRead(letter=each.letter, text=each.text) for each in bench.completions],
        rating_schema=RatingSchemaRead(
            likert=[ScaleRead(**asdict(each) | {"words": dict(each.words)}) for each in bench.scales],
            flags=[FlagRead(key=f.key, label=f.label, short=f.short, help=f.help) for f in bench.flags],
            notes=list(bench.questions.notes),
        ),
        guidelines_version=bench.guidelines.version if bench.guidelines else None,
        lease_until=assignment.lease_until,
        draft=Draft.model_validate(assignment.draft) if assignment.draft else None,
    )
