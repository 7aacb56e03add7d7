"""Runs, their inputs, metrics, samples and log lines, and the workers' heartbeats."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.clock import now
from app.core.db import Base, Identified, text_enum
from app.core.queue import Queue
from app.runs.configs import RunKind
from app.runs.schemas import Priority, Where


class RunState(StrEnum):
    queued = "queued"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"


class Run(Identified, Base):
    """One piece of work on a worker. The row is the truth: state, claim, heartbeat, progress, cancel request."""

    __tablename__ = "run"
    __table_args__ = (
        Index(None, "project_id", "created_at"),
        Index(None, "state", "heartbeat_at"),
        Index(None, "worked_until"),
        UniqueConstraint("project_id", "key"),
    )

    project_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    round_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("round.id"))
    name: Mapped[str]
    key: Mapped[str | None]  # what a script calls its request, so that one sent again starts no second run
    kind: Mapped[RunKind] = mapped_column(text_enum(RunKind))
    config: Mapped[dict[str, Any]]
    state: Mapped[RunState] = mapped_column(text_enum(RunState), default=RunState.queued)
    priority: Mapped[Priority] = mapped_column(text_enum(Priority), default=Priority.normal)
    device: Mapped[Where] = mapped_column(text_enum(Where), default=Where.any)
    gpu_bytes: Mapped[int] = mapped_column(BigInteger, default=0)  # what it needs at least, where a GPU trains it
    cpu_bytes: Mapped[int] = mapped_column(BigInteger, default=0)  # and where the machine's own memory has to do
    step: Mapped[int] = mapped_column(default=0)
    total_steps: Mapped[int | None]
    checkpoint_step: Mapped[int | None]
    progress_note: Mapped[str] = mapped_column(default="")
    claimed_by: Mapped[str | None]  # worker's name; changes with every claim
    claimed_at: Mapped[datetime | None]  # while a worker has it
    worked_seconds: Mapped[float] = mapped_column(default=0.0)  # of all workers that had it before
    worked_until: Mapped[datetime | None]  # when the last of them had it
    attempts: Mapped[int] = mapped_column(default=0)
    heartbeat_at: Mapped[datetime | None]
    queued_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    is_cancel_asked: Mapped[bool] = mapped_column(default=False)
    error: Mapped[str | None]  # in words, for the admin
    code_version: Mapped[str] = mapped_column(default="")
    seed: Mapped[int] = mapped_column(default=0)
    created_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"))
    result: Mapped[dict[str, Any]] = mapped_column(default=dict)  # final metrics


_INPUTS = ("snapshot_id", "model_id", "file_id", "prefix_id")


class RunInput(Base):
    """What a run reads: a snapshot, a model, a benchmark's file or a prefix, by its part (policy, data.rte, ...)."""

    __tablename__ = "run_input"
    __table_args__ = (
        CheckConstraint(
            " + ".join(f"CASE WHEN {each} IS NULL THEN 0 ELSE 1 END" for each in _INPUTS) + " = 1",
            name="one_input",
        ),
    )

    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    part: Mapped[str] = mapped_column(primary_key=True)
    snapshot_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("snapshot.id"), index=True)
    model_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("model.id"), index=True)
    file_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("benchmark_file.id"), index=True)
    prefix_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("prefix.id"), index=True)


class RunMetric(Base):
    __tablename__ = "run_metric"

    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    values: Mapped[dict[str, Any]]
    recorded_at: Mapped[datetime] = mapped_column(default=now)


class RunSample(Identified, Base):
    """What the model wrote at a step, beside what it wrote before the run."""

    __tablename__ = "run_sample"
    __table_args__ = (Index(None, "run_id", "step"),)

    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    step: Mapped[int]
    prompt: Mapped[str]
    before: Mapped[str]
    after: Mapped[str]
    reward_before: Mapped[float | None]
    reward_after: Mapped[float | None]


class RunLogLine(Identified, Base):
    __tablename__ = "run_log_line"
    __table_args__ = (Index(None, "run_id", "created_at"),)

    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    level: Mapped[str] = mapped_column(default="info")
    text: Mapped[str]


class SamplingShare(Identified, Base):
    """A share of an iteration's episodes that a trainer wants drawn; gone when it has them, or when its run ends."""

    __tablename__ = "sampling_share"
    __table_args__ = (UniqueConstraint("run_id", "iteration", "number"),)

    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    iteration: Mapped[int]
    number: Mapped[int]
    version: Mapped[str]  # of the policy that is to draw it
    claim: Mapped[str]  # the trainer's, who asked
    nudged_at: Mapped[datetime] = mapped_column(default=now)
    taken_by: Mapped[str | None]  # worker's name; changes each time it is taken
    heartbeat_at: Mapped[datetime | None]
    is_drawn: Mapped[bool] = mapped_column(default=False)
    error: Mapped[str | None]  # why the worker could not draw it, in words


class Worker(Base):
    __tablename__ = "worker"

    name: Mapped[str] = mapped_column(primary_key=True)
    queue: Mapped[Queue] = mapped_column(text_enum(Queue), default=Queue.touchstone)
    device: Mapped[str]  # its name, for people
    has_gpu: Mapped[bool] = mapped_column(default=False)
    memory: Mapped[int | None] = mapped_column(BigInteger)  # bytes: the GPU's, or the machine's; none: not known
    heartbeat_at: Mapped[datetime] = mapped_column(default=now)
    run_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("run.id"))
