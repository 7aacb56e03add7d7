"""Webhooks as JSON: addresses that are told of a project's events, and what each was sent."""

import uuid
from datetime import datetime

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from app.accounts.deps import Admin
from app.core.api import After, ApiRoute, Limit, Page
from app.core.deps import ReadSession, WriteSession
from app.projects.deps import CurrentProject
from app.webhooks import service
from app.webhooks.models import Delivery, DeliveryState, Event, Webhook

router = APIRouter(prefix="/api/v1/projects/{slug}/webhooks", route_class=ApiRoute)


class WebhookIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: str = Field(max_length=2000, description="https, and of no private network unless the server allows it.")
    events: list[Event] = Field(description="What it is to be told of; `ping` is sent when it is asked for.")


class WebhookRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    url: str
    events: list[Event]
    is_paused: bool
    created_at: datetime


class WebhookMade(WebhookRead):
    secret: str = Field(description="Signs what is sent (Standard Webhooks). It is given this once.")


class DeliveryRead(BaseModel):
    """One event for one address. Receivers see its id as `webhook-id`, the same however often it is sent."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    webhook_id: uuid.UUID
    event: Event
    payload: str = Field(description="JSON as it is signed and sent.")
    state: DeliveryState
    attempts: int
    next_at: datetime = Field(description="When it is sent, or sent again, while it waits.")
    status: int | None = Field(description="Of the last answer.")
    error: str | None
    created_at: datetime
    delivered_at: datetime | None


@router.get("")
def list_webhooks(session: ReadSession, _: Admin, project: CurrentProject) -> Page[WebhookRead]:
    """All of them, the oldest first."""
    found = service.webhooks_of(session, project)
    return Page(items=[WebhookRead.model_validate(row) for row in found], next=None)


@router.post("", status_code=201)
def create_webhook(session: WriteSession, admin: Admin, project: CurrentProject, body: WebhookIn) -> WebhookMade:
    """The answer alone holds the secret with which what is sent is signed."""
    row = service.create(session, project, url=body.url, events=[event.value for event in body.events], by=admin)
    return WebhookMade.model_validate(row)


@router.get("/{webhook_id}", response_model=WebhookRead)
def read_webhook(session: ReadSession, _: Admin, project: CurrentProject, webhook_id: uuid.UUID) -> Webhook:
    return service.webhook_of_project(session, project, webhook_id)


@router.delete("/{webhook_id}", status_code=204, response_class=Response)
def delete_webhook(session: WriteSession, admin: Admin, project: CurrentProject, webhook_id: uuid.UUID) -> None:
    """It is told nothing more, and what it was sent is forgotten."""
    service.remove(session, service.webhook_of_project(session, project, webhook_id), by=admin)


@router.post("/{webhook_id}/pause", response_model=WebhookRead)
def pause(session: WriteSession, admin: Admin, project: CurrentProject, webhook_id: uuid.UUID) -> Webhook:
    """Events pass it by until it goes on."""
    return _paused(session, admin, project, webhook_id, is_paused=True)


@router.post("/{webhook_id}/continue", response_model=WebhookRead)
def go_on(session: WriteSession, admin: Admin, project: CurrentProject, webhook_id: uuid.UUID) -> Webhook:
    return _paused(session, admin, project, webhook_id, is_paused=False)


def _paused(
    session: WriteSession, admin: Admin, project: CurrentProject, webhook_id: uuid.UUID, *, is_paused: bool
) -> Webhook:
    row = service.webhook_of_project(session, project, webhook_id)
    if row.is_paused != is_paused:
        service.set_paused(session, row, is_paused, by=admin)
    return row


@router.post("/{webhook_id}/ping", response_model=DeliveryRead, status_code=201)
def ping(session: WriteSession, _: Admin, project: CurrentProject, webhook_id: uuid.UUID) -> Delivery:
    """Send it something to see whether the address works."""
    return service.ping(session, service.webhook_of_project(session, project, webhook_id))


@router.get("/{webhook_id}/deliveries")
def list_deliveries(
    session: ReadSession,
    _: Admin,
    project: CurrentProject,
    webhook_id: uuid.UUID,
    after: After = None,
    limit: Limit = 100,
) -> Page[DeliveryRead]:
    """What it was sent or is to be sent, the newest first."""
    webhook = service.webhook_of_project(session, project, webhook_id)
    found, cursor = service.deliveries_after(session, webhook, after=after, limit=limit)
    return Page(items=[DeliveryRead.model_validate(row) for row in found], next=cursor)


@router.post("/deliveries/{delivery_id}/again", response_model=DeliveryRead)
def deliver_again(session: WriteSession, admin: Admin, project: CurrentProject, delivery_id: uuid.UUID) -> Delivery:
    """Send one that was given up, or taken already, once more."""
    return service.send_again(session, project, delivery_id, by=admin)
