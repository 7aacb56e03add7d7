"""People, their sign-ins, and the audit log."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.clock import now
from app.core.db import Base, Identified, text_enum
from app.core.sealing import sealed_column

SECOND_FACTOR = "second factor"  # what its secret is sealed for


class Role(StrEnum):
    labeler = "labeler"
    researcher = "researcher"
    admin = "admin"


class Group(StrEnum):
    """Training labelers make the data; held-out labelers only evaluate."""

    training = "training"
    held_out = "held_out"


class PersonState(StrEnum):
    invited = "invited"
    screening = "screening"
    active = "active"
    paused = "paused"


class Person(Identified, Base):
    __tablename__ = "person"

    email: Mapped[str] = mapped_column(unique=True)  # kept lower case
    name: Mapped[str]
    role: Mapped[Role] = mapped_column(text_enum(Role))
    group: Mapped[Group] = mapped_column("labeler_group", text_enum(Group), default=Group.training)
    state: Mapped[PersonState] = mapped_column(text_enum(PersonState), default=PersonState.invited)
    password_hash: Mapped[str | None]
    is_simulated: Mapped[bool] = mapped_column(default=False)  # said wherever the person shows
    # What they do not want to see and how they like to work; `Preferences` says what may stand here.
    preferences: Mapped[dict[str, Any]] = mapped_column(default=dict)
    erased_at: Mapped[datetime | None]  # their data is gone; their labels stay, under a pseudonym


class SignIn(Identified, Base):
    """A session of a signed-in person; deleting the row signs them out. It runs out, sooner where nobody uses it."""

    __tablename__ = "sign_in"

    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    expires_at: Mapped[datetime]
    last_seen_at: Mapped[datetime] = mapped_column(default=now)  # to within minutes
    address: Mapped[str] = mapped_column(default="")  # of the computer that signed in
    agent: Mapped[str] = mapped_column(default="")  # what its browser calls itself
    has_second_step: Mapped[bool] = mapped_column(default=False)


class SecondFactor(Identified, Base):
    """What a person's authenticator app knows too (TOTP, RFC 6238)."""

    __tablename__ = "second_factor"

    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"), unique=True)
    sealed_secret: Mapped[str] = mapped_column(info=sealed_column(SECOND_FACTOR))
    confirmed_at: Mapped[datetime | None]  # none: shown, and not in use yet
    last_step: Mapped[int] = mapped_column(default=0)  # the half minute of the last code, which is good once


class RecoveryCode(Identified, Base):
    """Stands in for the authenticator app, once."""

    __tablename__ = "recovery_code"

    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"), index=True)
    code_hash: Mapped[str]
    used_at: Mapped[datetime | None]


class ProviderIdentity(Identified, Base):
    """Who a person is to the provider of single sign-on: names and addresses change, the subject does not."""

    __tablename__ = "provider_identity"
    __table_args__ = (UniqueConstraint("issuer", "subject"),)

    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"), index=True)
    issuer: Mapped[str]
    subject: Mapped[str]


class SignInFailure(Identified, Base):
    """A password that was wrong: what is needed to count them, for a day."""

    __tablename__ = "sign_in_failure"
    __table_args__ = (Index(None, "account", "created_at"), Index(None, "address", "created_at"))

    account: Mapped[str]  # a hash of the address that was typed
    address: Mapped[str]  # the computer's


class SignInLink(Identified, Base):
    """A one-time link: for the first admin, for invitations and for forgotten passwords."""

    __tablename__ = "sign_in_link"

    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class ApiToken(Identified, Base):
    __tablename__ = "api_token"

    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    token_hash: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[Any]] = mapped_column(default=list)
    expires_at: Mapped[datetime | None]


class AuditEvent(Identified, Base):
    """Who changed which state, when. Only ever added to."""

    __tablename__ = "audit_event"
    __table_args__ = (Index(None, "subject_kind", "subject_id"),)

    person_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"))  # none: the system itself
    action: Mapped[str]
    subject_kind: Mapped[str]
    subject_id: Mapped[uuid.UUID]
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
