"""The prompt pool."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.clock import now
from app.core.db import Base, Identified, text_enum
from app.prompts.readers import ImportFormat


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


class HeldFor(StrEnum):
    """Why a prompt that was imported is not in use. It stays, retired, so that it can be taken back."""

    arriving = "arriving"  # its import is still at work
    length = "length"
    language = "language"
    personal_data = "personal_data"
    prefix = "prefix"
    near = "near"
    cap = "cap"


class ImportState(StrEnum):
    draft = "draft"  # waits for somebody to look at its first rows and start it
    queued = "queued"
    running = "running"
    stopped = "stopped"
    failed = "failed"
    done = "done"
    discarded = "discarded"


class Stage(StrEnum):
    """What of an import comes next."""

    fetch = "fetch"  # from the Hub, into the artefact store
    check = "check"  # the whole file is read once before anything is taken
    take = "take"
    settle = "settle"  # compare with each other and with the pool, then put into use what is to be


class Verdict(StrEnum):
    taken = "taken"
    duplicate = "duplicate"
    refused = "refused"


class Prompt(Identified, Base):
    __tablename__ = "prompt"
    __table_args__ = (
        UniqueConstraint("project_id", "content_hash"),
        Index(None, "project_id", "split", "is_retired"),
        Index(None, "project_id", "id"),
        Index(
            "ix_prompt_to_sort",
            "project_id",
            "id",
            sqlite_where=text("use_case = 'other' AND use_case_fixed_at IS NULL"),
            postgresql_where=text("use_case = 'other' AND use_case_fixed_at IS NULL"),
        ),
        Index(None, "project_id", "source_organisation", "split"),
        Index(None, "project_id", "source_user", "split"),
        Index(None, "import_id", "held_for", "is_retired", "import_row"),
    )

    project_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    messages: Mapped[list[Any]]  # [{role, content}], ending with the user's
    kind: Mapped[PromptKind] = mapped_column(text_enum(PromptKind), default=PromptKind.plain)
    use_case: Mapped[UseCase] = mapped_column(text_enum(UseCase), default=UseCase.other)
    # Since when it stays: labelers agreed on it, or the prompt went into a batch, whose questions go by it.
    use_case_fixed_at: Mapped[datetime | None]
    source: Mapped[str]
    source_user: Mapped[str | None]
    source_organisation: Mapped[str | None]
    language: Mapped[str] = mapped_column(default="en")
    flags: Mapped[list[Any]] = mapped_column(default=list)
    split: Mapped[Split] = mapped_column(text_enum(Split))
    content_hash: Mapped[str]
    is_retired: Mapped[bool] = mapped_column(default=False)
    written_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"))
    import_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("prompt_import.id"))
    import_row: Mapped[int | None]  # of the import's file
    held_for: Mapped[HeldFor | None] = mapped_column(text_enum(HeldFor))  # then it is retired
    held_note: Mapped[str] = mapped_column(default="")
    fingerprint: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)  # what near duplicates are found by


class PromptImport(Identified, Base):
    """A file of prompts on its way into the pool. The row is the truth: state, claim, heartbeat, position."""

    __tablename__ = "prompt_import"
    __table_args__ = (Index(None, "project_id", "created_at"), Index(None, "state", "heartbeat_at"))

    project_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    created_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"))
    name: Mapped[str]  # the source of the prompts whose rows name none
    hub: Mapped[dict[str, Any]] = mapped_column(default=dict)  # dataset, config, split, revision; empty: a file
    upload_key: Mapped[str | None]  # in the artefact store; none: not fetched yet, or all of it is in the pool
    size: Mapped[int] = mapped_column(BigInteger, default=0)  # bytes, as sent
    format: Mapped[ImportFormat] = mapped_column(text_enum(ImportFormat))
    settings: Mapped[dict[str, Any]]
    state: Mapped[ImportState] = mapped_column(text_enum(ImportState), default=ImportState.draft)
    stage: Mapped[Stage] = mapped_column(text_enum(Stage), default=Stage.check)
    position: Mapped[int] = mapped_column(default=0)  # rows of the file that are dealt with
    total: Mapped[int | None]  # rows of the file, once it was read
    counts: Mapped[dict[str, Any]] = mapped_column(
        default=dict
    )  # by verdict, and by the reason for which prompts are held
    report_parts: Mapped[int] = mapped_column(default=0)  # files of rows that were not taken, in the artefact store
    note: Mapped[str] = mapped_column(default="")  # what the worker is doing
    error: Mapped[str | None]  # in words, for the admin
    claimed_by: Mapped[str | None]  # worker's name; changes with every claim
    attempts: Mapped[int] = mapped_column(default=0)
    heartbeat_at: Mapped[datetime | None]
    is_stop_asked: Mapped[bool] = mapped_column(default=False)
    queued_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class ImportedRow(Identified, Base):
    """One of the first rows that an import did not take, and why."""

    __tablename__ = "imported_row"
    __table_args__ = (Index(None, "import_id", "verdict", "number"),)

    import_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("prompt_import.id", ondelete="CASCADE"))
    number: Mapped[int]
    verdict: Mapped[Verdict] = mapped_column(text_enum(Verdict))
    reason: Mapped[str]
    opening: Mapped[str] = mapped_column(default="")


class PlainText(Identified, Base):
    """A document of plain text: the pretraining mix of PPO-ptx."""

    __tablename__ = "plain_text"
    __table_args__ = (UniqueConstraint("project_id", "content_hash"),)

    project_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"), index=True)
    source: Mapped[str]
    text: Mapped[str]
    split: Mapped[Split] = mapped_column(text_enum(Split))
    content_hash: Mapped[str]
