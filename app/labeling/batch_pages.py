"""A batch's page: how far it is and when it is done, its reports, its items and their known answers."""

import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from app.accounts.deps import Admin, Researcher
from app.accounts.models import Person
from app.core.deps import ReadSession, SentForm, WriteSession
from app.core.errors import DomainError
from app.core.pages import render
from app.labeling import answers, service
from app.labeling.batch_overview import items_of, overview_of
from app.labeling.forms import checked, typed_in
from app.labeling.models import Batch, BatchState, ItemPurpose
from app.labeling.resolutions import resolve_report
from app.labeling.said import said_of
from app.projects.deps import CurrentProject
from app.projects.models import Project

router = APIRouter(prefix="/p/{slug}/labeling")
BATCH = "/batches/{batch_id}"


@router.get(BATCH)
def batch_page(
    request: Request,
    session: ReadSession,
    _: Researcher,
    project: CurrentProject,
    batch_id: uuid.UUID,
    page: int = 1,
    purpose: ItemPurpose | Literal[""] = "",
    resolved: bool = False,
) -> Response:
    batch = service.batch_of(session, project, batch_id)
    return _batch_page(request, session, batch, page=page, purpose=purpose or None, resolved=resolved)


def _batch_page(
    request: Request,
    session: Session,
    batch: Batch,
    *,
    status: int = 200,
    page: int = 1,
    purpose: ItemPurpose | None = None,
    **values: Any,
) -> Response:
    return render(
        request,
        "labeling/batch.html",
        status=status,
        overview=overview_of(session, batch),
        found=items_of(session, batch, purpose=purpose, page=page),
        purposes=list(ItemPurpose),
        **{"error": None, "resolved": False, "typed": {}, **values},
    )


@router.post("/{batch_id}/state")
def change_batch_state(
    session: WriteSession,
    admin: Admin,
    project: CurrentProject,
    batch_id: uuid.UUID,
    state: Annotated[BatchState, Form()],
    back: Annotated[str, Form()] = "",
) -> Response:
    """Back to the list, or to the batch's own page when it was changed there."""
    service.change_state(session, service.batch_of(session, project, batch_id), state, by=admin)
    return RedirectResponse(f"/p/{project.slug}/labeling" + (f"/batches/{batch_id}" if back else ""), 303)


@router.post(BATCH + "/priority")
def change_batch_priority(
    request: Request,
    session: WriteSession,
    admin: Admin,
    project: CurrentProject,
    batch_id: uuid.UUID,
    priority: Annotated[str, Form()] = "",
) -> Response:
    batch = service.batch_of(session, project, batch_id)
    try:
        service.change_priority(session, batch, service.read_priority(priority), by=admin)
    except DomainError as error:
        return _batch_page(request, session, batch, status=422, error=error, typed={"priority": priority})
    return RedirectResponse(f"/p/{project.slug}/labeling/batches/{batch_id}", 303)


@router.post(BATCH + "/reports/{report_id}")
def resolve(
    request: Request,
    session: WriteSession,
    admin: Admin,
    project: CurrentProject,
    batch_id: uuid.UUID,
    report_id: uuid.UUID,
    resolution: Annotated[str, Form()] = "",
) -> Response:
    batch = service.batch_of(session, project, batch_id)
    try:
        resolve_report(session, batch, report_id, resolution, by=admin)
    except DomainError as error:
        return _batch_page(request, session, batch, status=error.status, error=error)
    return RedirectResponse(f"/p/{project.slug}/labeling/batches/{batch_id}?resolved=true#reports", 303)


@router.get(BATCH + "/items/{item_id}")
def item_page(
    request: Request,
    session: ReadSession,
    admin: Admin,
    project: CurrentProject,
    batch_id: uuid.UUID,
    item_id: uuid.UUID,
    own: bool = False,
) -> Response:
    """`own` fills the form in from what this lead submitted on the item at the desk."""
    return _item_page(request, session, project, admin, batch_id, item_id, own=own)


def _item_page(
    request: Request,
    session: Session,
    project: Project,
    admin: Person,
    batch_id: uuid.UUID,
    item_id: uuid.UUID,
    *,
    own: bool = False,
    status: int = 200,
    error: DomainError | None = None,
    typed: dict[str, Any] | None = None,
) -> Response:
    sheet = answers.open_item(session, service.batch_of(session, project, batch_id), item_id)
    mine = answers.own_answer(session, sheet, admin)
    known = mine if own and mine else sheet.item.gold
    return render(
        request,
        "labeling/item.html",
        status=status,
        sheet=sheet,
        mine=answers.typed_answer(sheet, mine) if mine else None,
        said=said_of(session, sheet),
        own=own,
        error=error,
        typed=typed or answers.typed_answer(sheet, known),
        purposes=list(ItemPurpose),
    )


@router.post(BATCH + "/items/{item_id}")
def give_answer(
    request: Request,
    session: WriteSession,
    admin: Admin,
    project: CurrentProject,
    batch_id: uuid.UUID,
    item_id: uuid.UUID,
    form: SentForm,
) -> Response:
    typed = typed_in(form)
    batch = service.batch_of(session, project, batch_id)
    try:
        given = checked(answers.AnswerGiven, typed)
        answers.give_answer(session, answers.open_item(session, batch, item_id), given, by=admin)
    except DomainError as error:
        return _item_page(
            request, session, project, admin, batch_id, item_id, status=error.status, error=error, typed=typed
        )
    return RedirectResponse(f"/p/{project.slug}/labeling/batches/{batch_id}?purpose={given.purpose.value}#items", 303)
