"""The page of a project's webhooks."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from app.accounts.deps import Admin
from app.core.db import reading, writing
from app.core.deps import ReadSession, WriteSession
from app.core.errors import DomainError
from app.core.pages import render
from app.projects.deps import CurrentProject
from app.projects.models import Project
from app.webhooks import service
from app.webhooks.models import Event

router = APIRouter(prefix="/p/{slug}/webhooks")
WORDS = {
    Event.run_finished: "a run ends", Event.model_ready: "a base model is ready", Event.model_refused: "one is refused",
    Event.snapshot_frozen: "a dataset is frozen", Event.batch_stopped: "a labeler pulls the stop cord",
    Event.import_finished: "an import of prompts ends",
}  # fmt: skip


def _page(
    request: Request, session: Session, project: Project, *, error: DomainError | None = None, secret: str = "",
    url: str = "", events: list[str] | None = None,
) -> Response:  # fmt: skip
    chosen = [event.value for event in WORDS] if events is None else events
    return render(
        request, "webhooks/list.html", status=error.status if error else 200, error=error, secret=secret, url=url,
        chosen=chosen, words=WORDS, webhooks=service.webhooks_of(session, project),
        deliveries=service.deliveries_of(session, project),
    )  # fmt: skip


@router.get("")
def webhook_list(request: Request, session: ReadSession, _: Admin, project: CurrentProject) -> Response:
    return _page(request, session, project)


@router.post("")
def add_webhook(
    request: Request,
    admin: Admin,
    project: CurrentProject,
    url: Annotated[str, Form()] = "",
    events: Annotated[list[str] | None, Form()] = None,
) -> Response:
    """Its secret is on the answer's page, and on no other."""
    try:
        with writing() as session:
            secret = service.create(session, project, url=url, events=events or [], by=admin).secret
    except DomainError as error:
        with reading() as session:
            return _page(request, session, project, error=error, url=url, events=events or [])
    with reading() as session:
        return _page(request, session, project, secret=secret)


@router.post("/{webhook_id}/try")
def try_webhook(session: WriteSession, _: Admin, project: CurrentProject, webhook_id: uuid.UUID) -> Response:
    service.ping(session, service.webhook_of_project(session, project, webhook_id))
    return _back(project)


@router.post("/{webhook_id}/pause")
def pause_webhook(session: WriteSession, admin: Admin, project: CurrentProject, webhook_id: uuid.UUID) -> Response:
    service.set_paused(session, service.webhook_of_project(session, project, webhook_id), True, by=admin)
    return _back(project)


@router.post("/{webhook_id}/go-on")
def go_on_with_webhook(session: WriteSession, admin: Admin, project: CurrentProject, webhook_id: uuid.UUID) -> Response:
    service.set_paused(session, service.webhook_of_project(session, project, webhook_id), False, by=admin)
    return _back(project)


@router.post("/{webhook_id}/remove")
def remove_webhook(session: WriteSession, admin: Admin, project: CurrentProject, webhook_id: uuid.UUID) -> Response:
    service.remove(session, service.webhook_of_project(session, project, webhook_id), by=admin)
    return _back(project)


@router.post("/deliveries/{delivery_id}/again")
def send_again(session: WriteSession, admin: Admin, project: CurrentProject, delivery_id: uuid.UUID) -> Response:
    service.send_again(session, project, delivery_id, by=admin)
    return _back(project)


def _back(project: Project) -> Response:
    return RedirectResponse(f"/p/{project.slug}/webhooks", 303)
