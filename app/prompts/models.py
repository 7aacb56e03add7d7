"""The prompt pool."""

import uuid
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, Identified, text_enum


class PromptKind(StrEnum):
    plain = "plain"
    few_shot = "few_shot"
    user_based = "user_based"
    api = "api"


class UseCase(StrEnum):
    """The paper's ten (Table 1)."""

    generation = "generation"
    open_qa = "open_qa"
    brainstorming = "brainstorming"
    chat = "chat"
    rewrite = "rewrite"
    summarization = "summarization"
    classification = "classification"
    other = "other"
    closed_qa = "closed_qa"
    extract = "extract"


class Split(StrEnum):
    train = "train"
    valid = "valid"
    test = "test"


class Prompt(Identified, Base):
    __tablename__ = "prompt"
    __table_args__ = (
        UniqueConstraint("project_id", "content_hash"),
        Index(None, "project_id", "split", "is_retired"),
        Index(None, "project_id", "id"),
    )

    project_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    messages: Mapped[list[Any]]  # [{role, content}], ending with the user's
    kind: Mapped[PromptKind] = mapped_column(text_enum(PromptKind), default=PromptKind.plain)
    use_case: Mapped[UseCase] = mapped_column(text_enum(UseCase), default=UseCase.other)
    source: Mapped[str]
    source_user: Mapped[str | None]
    source_organisation: Mapped[str | None]
    language: Mapped[str] = mapped_column(default="en")
    flags: Mapped[list[Any]] = mapped_column(default=list)
    split: Mapped[Split] = mapped_column(text_enum(Split))
    content_hash: Mapped[str]
    is_retired: Mapped[bool] = mapped_column(default=False)
    written_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"))


class PlainText(Identified, Base):
    """A document of plain text: the pretraining mix of PPO-ptx."""

    __tablename__ = "plain_text"
    __table_args__ = (UniqueConstraint("project_id", "content_hash"),)

    project_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"), index=True)
    source: Mapped[str]
    text: Mapped[str]
    split: Mapped[Split] = mapped_column(text_enum(Split))
    content_hash: Mapped[str]
