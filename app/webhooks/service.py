"""Webhooks: added, paused, removed; events written beside what they tell of, and what became of each."""

import base64
import json
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import Person
from app.core.clock import has_come, now
from app.core.cursors import rows_after
from app.core.errors import Conflict, Invalid, NotFound
from app.core.sealing import seal, unseal
from app.projects.models import Project
from app.webhooks.addresses import check_url
from app.webhooks.models import SEALED_FOR, Delivery, DeliveryState, Event, Webhook
from app.webhooks.schedule import LONGEST, SENDING_TAKES, WAITS

MOST_WEBHOOKS, SHOWN = 20, 50


def create(session: Session, project: Project, *, url: str, events: Sequence[str], by: Person) -> Webhook:
    """An address that is told of these events from now on. Invalid: it can't be reached from here, or may not be."""
    wanted = [event for event in Event if event.value in events and event is not Event.ping]
    if not wanted:
        raise Invalid("Nothing would ever be sent.", fields={"events": "Choose at least one event."})
    if len(webhooks_of(session, project)) >= MOST_WEBHOOKS:
        raise Invalid(f"This project has {MOST_WEBHOOKS} webhooks already.", mend="Remove one first.")
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    row = Webhook(
        project_id=project.id,
        url=check_url(url),
        sealed_secret=seal(secret, SEALED_FOR),
        events=wanted,
        created_by=by.id,
    )
    session.add(row)
    session.flush()
    audit.record(session, by, "webhook.create", subject=row, url=row.url, events=[event.value for event in wanted])
    return row


def webhooks_of(session: Session, project: Project) -> list[Webhook]:
    return list(session.scalars(select(Webhook).where(Webhook.project_id == project.id).order_by(Webhook.id)))


def webhook_of_project(session: Session, project: Project, webhook_id: uuid.UUID) -> Webhook:
    row = session.get(Webhook, webhook_id)
    if row is None or row.project_id != project.id:
        raise NotFound("There is no such webhook in this project.")
    return row


def set_paused(session: Session, webhook: Webhook, is_paused: bool, *, by: Person) -> None:
    """While it is paused, events pass it by; what waits already goes out when it goes on."""
    webhook.is_paused = is_paused
    audit.record(session, by, "webhook.pause" if is_paused else "webhook.go_on", subject=webhook)


def remove(session: Session, webhook: Webhook, *, by: Person) -> None:
    audit.record(session, by, "webhook.remove", subject=webhook, url=webhook.url)
    session.execute(delete(Webhook).where(Webhook.id == webhook.id))


def deliveries_of(session: Session, project: Project) -> list[tuple[Delivery, Webhook]]:
    """The newest of all the project's webhooks."""
    query = select(Delivery, Webhook).join(Webhook, Webhook.id == Delivery.webhook_id)
    rows = session.execute(query.where(Webhook.project_id == project.id).order_by(Delivery.id.desc()).limit(SHOWN))
    return [(delivery, webhook) for delivery, webhook in rows]


def deliveries_after(
    session: Session, webhook: Webhook, *, after: uuid.UUID | None, limit: int
) -> tuple[list[Delivery], uuid.UUID | None]:
    """The next of one address behind this one, the newest first, and the cursor for those behind them."""
    query = select(Delivery).where(Delivery.webhook_id == webhook.id)
    return rows_after(session, query, Delivery, after=after, limit=limit)


def publish(session: Session, project_id: uuid.UUID, event: Event, **facts: object) -> None:
    """Tell all that want to know, when this transaction is committed and not otherwise."""
    query = select(Webhook).where(Webhook.project_id == project_id, Webhook.is_paused.is_(False))
    for webhook in session.scalars(query):
        if event.value in webhook.events:
            _add(session, webhook, event, facts)


def ping(session: Session, webhook: Webhook) -> Delivery:
    return _add(session, webhook, Event.ping, {"said": "If you read this, the address works."})


def _add(session: Session, webhook: Webhook, event: Event, facts: dict[str, object]) -> Delivery:
    told = {"type": event.value, "timestamp": now().isoformat(), "data": facts}
    row = Delivery(webhook_id=webhook.id, event=event, payload=json.dumps(told, default=str))
    session.add(row)
    session.flush()
    return row


def send_again(session: Session, project: Project, delivery_id: uuid.UUID, *, by: Person) -> Delivery:
    """Try one that was given up once more from the start."""
    delivery = session.get(Delivery, delivery_id)
    if delivery is None:
        raise NotFound("There is no such delivery.")
    webhook_of_project(session, project, delivery.webhook_id)
    if delivery.state == DeliveryState.waiting:
        raise Conflict("It waits to be sent already.")
    delivery.state, delivery.attempts, delivery.next_at = DeliveryState.waiting, 0, now()
    audit.record(session, by, "webhook.send_again", subject=delivery)
    return delivery


# What the scheduler does


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be sent now."""

    id: uuid.UUID
    url: str
    sealed_secret: str
    payload: str
    attempts: int

    @property
    def secret(self) -> str:
        return unseal(self.sealed_secret, SEALED_FOR)


def is_due(session: Session) -> bool:
    """Whether anything is to be sent now: looked at often, so without taking anybody's turn to write."""
    due = select(Delivery.id).where(*_due())
    return session.scalar(due.limit(1)) is not None


def _due() -> tuple[ColumnElement[bool], ...]:
    return Delivery.state == DeliveryState.waiting, has_come(Delivery.next_at, at=now(), longest=LONGEST)


def take_due(session: Session) -> Due | None:
    """The first that is due, taken for a minute: any number of schedulers may ask at once, and one that dies loses
    nothing."""
    query = (
        select(Delivery, Webhook)
        .join(Webhook, Webhook.id == Delivery.webhook_id)
        .where(*_due(), Webhook.is_paused.is_(False))
        .order_by(Delivery.next_at)
        .limit(1)
        .with_for_update(skip_locked=True, of=Delivery)
    )
    if (found := session.execute(query).first()) is None:
        return None
    delivery, webhook = found
    delivery.attempts, delivery.next_at = delivery.attempts + 1, now() + SENDING_TAKES
    return Due(delivery.id, webhook.url, webhook.sealed_secret, delivery.payload, delivery.attempts)


def settle(session: Session, due: Due, *, status: int | None, error: str | None) -> None:
    """What became of an attempt; one that failed is tried again later, or given up. Only the newest attempt counts."""
    values: dict[str, object] = {"status": status, "error": error}
    if error is None:
        values |= {"state": DeliveryState.delivered, "delivered_at": now()}
    elif due.attempts > len(WAITS):
        values |= {"state": DeliveryState.failed}
    else:
        values |= {"next_at": now() + WAITS[due.attempts - 1]}
    same = (Delivery.id == due.id, Delivery.attempts == due.attempts, Delivery.state == DeliveryState.waiting)
    session.execute(update(Delivery).where(*same).values(**values).execution_options(synchronize_session=False))
