"""Addresses that want to be told of a project's events, and what each was sent."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.clock import now
from app.core.db import Base, Identified, text_enum
from app.core.sealing import sealed_column, unseal

SEALED_FOR = "webhook"


class Event(StrEnum):
    run_finished = "run.finished"
    model_ready = "model.ready"
    model_refused = "model.refused"
    snapshot_frozen = "snapshot.frozen"
    batch_stopped = "batch.stopped"
    import_finished = "import.finished"
    ping = "ping"  # sent by hand, to try an address


class DeliveryState(StrEnum):
    waiting = "waiting"
    delivered = "delivered"
    failed = "failed"  # as often as it was tried


class LetterKind(StrEnum):
    run_failed = "run_failed"
    batch_stopped = "batch_stopped"
    trial = "trial"  # sent by hand, to see that letters arrive


class Webhook(Identified, Base):
    __tablename__ = "webhook"

    project_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"), index=True)
    url: Mapped[str]
    # Signs what is sent, so it can't be kept as a hash.
    sealed_secret: Mapped[str] = mapped_column(info=sealed_column(SEALED_FOR))
    events: Mapped[list[Any]]
    is_paused: Mapped[bool] = mapped_column(default=False)
    created_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))

    @property
    def secret(self) -> str:
        return unseal(self.sealed_secret, SEALED_FOR)


class Delivery(Identified, Base):
    """One event for one address; written with what it tells of, in one transaction. Its id lets receivers tell a second
    sending from a second event."""

    __tablename__ = "delivery"
    __table_args__ = (
        Index(None, "webhook_id", "id"),
        Index(
            "ix_delivery_waiting",
            "next_at",
            sqlite_where=text("state = 'waiting'"),
            postgresql_where=text("state = 'waiting'"),
        ),
    )

    webhook_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("webhook.id", ondelete="CASCADE"))
    event: Mapped[Event] = mapped_column(text_enum(Event))
    payload: Mapped[str]  # as it is signed and sent, byte for byte
    state: Mapped[DeliveryState] = mapped_column(text_enum(DeliveryState), default=DeliveryState.waiting)
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime] = mapped_column(default=now)
    status: Mapped[int | None]  # of the last answer
    error: Mapped[str | None]
    delivered_at: Mapped[datetime | None]


class LetterWish(Base):
    """What an admin wants e-mail about in a project."""

    __tablename__ = "letter_wish"

    project_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"), primary_key=True)
    person_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("person.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    kinds: Mapped[list[Any]]


class Letter(Identified, Base):
    """One e-mail to one person, written with what it tells of, in one transaction."""

    __tablename__ = "letter"
    __table_args__ = (
        Index(None, "project_id", "id"),
        Index(
            "ix_letter_waiting",
            "next_at",
            sqlite_where=text("state = 'waiting'"),
            postgresql_where=text("state = 'waiting'"),
        ),
    )

    project_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"), index=True)
    kind: Mapped[LetterKind] = mapped_column(text_enum(LetterKind))
    subject: Mapped[str]
    text: Mapped[str]
    state: Mapped[DeliveryState] = mapped_column(text_enum(DeliveryState), default=DeliveryState.waiting)
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime] = mapped_column(default=now)
    error: Mapped[str | None]
    delivered_at: Mapped[datetime | None]
