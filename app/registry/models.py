"""The registry of models: what each is, where it lies, and what it came from."""

import uuid
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, Identified, text_enum


class ModelKind(StrEnum):
    base = "base"
    sft = "sft"
    reward = "reward"
    policy = "policy"
    classifier = "classifier"  # scores a text (toxicity): nothing is sampled from it, or trained
    outside = "outside"  # only what it wrote was brought in: nothing can be sampled from it, or trained


class ModelState(StrEnum):
    adding = "adding"  # a worker is checking and converting it
    ready = "ready"
    refused = "refused"  # the reason stands in `error`
    deleted = "deleted"  # its files are gone; what came of it still names it


class Model(Identified, Base):
    __tablename__ = "model"
    __table_args__ = (
        UniqueConstraint("project_id", "name"),
        UniqueConstraint("run_id", "storage_key"),
        Index(None, "project_id", "kind"),
    )

    project_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    name: Mapped[str]
    kind: Mapped[ModelKind] = mapped_column(text_enum(ModelKind))
    state: Mapped[ModelState] = mapped_column(text_enum(ModelState), default=ModelState.ready)
    parent_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("model.id"))
    run_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("run.id"))
    source: Mapped[str] = mapped_column(
        default=""
    )  # what was asked for: starter, hub:OWNER/NAME, smollm2, a folder's name
    revision: Mapped[str | None]
    storage_key: Mapped[str | None]
    parameters: Mapped[int | None] = mapped_column(BigInteger)
    context: Mapped[int | None]  # longest prompt and completion, in tokens
    metrics: Mapped[dict[str, Any]] = mapped_column(default=dict)
    notes: Mapped[str] = mapped_column(default="")
    error: Mapped[str | None]
