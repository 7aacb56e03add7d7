"""Snapshots: frozen, hashed datasets."""

import uuid
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, Identified, text_enum


class SnapshotKind(StrEnum):
    demonstrations = "demonstrations"
    comparisons = "comparisons"
    prompts = "prompts"
    text = "text"


class Snapshot(Identified, Base):
    __tablename__ = "snapshot"
    __table_args__ = (UniqueConstraint("project_id", "kind", "sha256"),)

    project_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    kind: Mapped[SnapshotKind] = mapped_column(text_enum(SnapshotKind))
    filter: Mapped[dict[str, Any]]
    sha256: Mapped[str]
    rows: Mapped[int]
    counts: Mapped[dict[str, Any]] = mapped_column(default=dict)  # rows by split, labelers, pairs, ties, simulated
    schema_version: Mapped[int] = mapped_column(default=1)
    storage_key: Mapped[str]
    datasheet: Mapped[dict[str, Any]] = mapped_column(default=dict)  # what it was made of, as it was then
    created_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"))
