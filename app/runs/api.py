"""Runs as JSON: starting them, following them, and their figures."""

import uuid
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.accounts.deps import Admin, Researcher
from app.core.api import After, ApiRoute, Limit, Page
from app.core.db import reading_one_state, writing
from app.core.deps import ReadSession, WriteSession
from app.core.errors import NotFound
from app.projects import service as projects
from app.projects.deps import CurrentProject
from app.projects.models import Project
from app.registry import service as registry
from app.runs import creation, curves, history, line, newform, service, waiting
from app.runs.configs import RunKind
from app.runs.models import Run, RunState
from app.runs.schemas import Priority, RunPlan, Where

router = APIRouter(prefix="/api/v1", route_class=ApiRoute)


class RunIn(BaseModel):
    """What is left out is what the page of a new run starts with: its name, the newest models, everything labelled so
    far, and the settings for a model of this size."""

    model_config = ConfigDict(extra="forbid")

    key: str | None = Field(
        None,
        min_length=8,
        max_length=80,
        description="Of your choice: sent again, no second run starts.",
    )
    kind: RunKind
    name: str = ""
    preset: str = Field("", description="Whose settings to start from; empty: those for the model's size.")
    parts: dict[str, str] = Field(
        default_factory=dict, description="By part: the id of a model or a snapshot, `new`, `new-round`, or empty."
    )
    config: dict[str, Any] = Field(default_factory=dict, description="Settings other than the preset's.")
    priority: Priority = Field(Priority.normal, description="Those of a higher one go first, whatever else waits.")
    device: Where = Field(Where.any, description="Which workers may take it: any, or those with or without a GPU.")


class PriorityIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    priority: Priority


class InputRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    part: str
    model_id: uuid.UUID | None
    snapshot_id: uuid.UUID | None
    file_id: uuid.UUID | None = Field(description="A benchmark's file.")
    prefix_id: uuid.UUID | None = Field(description="Put before a model's prompts.")


class RunRead(BaseModel):
    id: uuid.UUID
    name: str
    kind: RunKind
    state: RunState
    step: int
    total_steps: int | None
    note: str
    priority: Priority
    device: Where
    memory_on_gpu: int = Field(description="Bytes it needs at least where a GPU trains it.")
    memory_on_cpu: int = Field(description="Bytes it needs at least of a machine without one.")
    ahead: int | None = Field(description="How many go before it now; none unless it is queued.")
    waits: str | None = Field(description="Why it waits, in words; none unless it is queued.")
    error: str | None
    config: dict[str, Any]
    inputs: list[InputRead]
    models: list[uuid.UUID] = Field(description="What it made.")
    result: dict[str, Any]
    code_version: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class LineRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    level: str
    text: str
    created_at: datetime


@router.get("/projects/{slug}/runs")
def list_runs(
    session: ReadSession,
    _: Researcher,
    project: CurrentProject,
    kind: RunKind | None = None,
    state: RunState | None = None,
    after: After = None,
    limit: Limit = 50,
) -> Page[RunRead]:
    """The newest first."""
    found, cursor = history.runs_after(session, project, kind, state, after=after, limit=limit)
    return Page(items=_reads(session, found), next=cursor)


@router.post("/projects/{slug}/runs")
def start_run(admin: Admin, project: CurrentProject, body: RunIn) -> RunRead:
    """Freezes what it reads, and queues it."""
    with reading_one_state() as session:
        if known := service.run_of_key(session, project, body.key):
            return _reads(session, [known])[0]
        plan = newform.plan_asked(session, project, body.kind, _plan(body), preset=body.preset)
        prepared = creation.prepare_run(session, project, body.kind, plan)
    with writing() as session:
        known = service.run_of_key(session, project, body.key)  # one that was sent again meanwhile
        run = known or creation.create_run(session, project, prepared, by=admin, key=body.key)
        return _reads(session, [run])[0]


def _plan(body: RunIn) -> RunPlan:
    return RunPlan(name=body.name, parts=body.parts, config=body.config, priority=body.priority, device=body.device)


@router.get("/runs/{run_id}")
def read_run(session: ReadSession, person: Researcher, run_id: uuid.UUID) -> RunRead:
    return _reads(session, [_visible(session, person, run_id)])[0]


@router.post("/runs/{run_id}/stop")
def stop_run(session: WriteSession, admin: Admin, run_id: uuid.UUID) -> RunRead:
    """Asks it to stop at its next step; what it has reached is kept, and it can be continued."""
    run = _visible(session, admin, run_id)
    service.ask_to_stop(session, run, by=admin)
    return _reads(session, [run])[0]


@router.post("/runs/{run_id}/continue")
def continue_run(session: WriteSession, admin: Admin, run_id: uuid.UUID) -> RunRead:
    run = _visible(session, admin, run_id)
    service.resume(session, run, by=admin)
    return _reads(session, [run])[0]


@router.post("/runs/{run_id}/priority")
def set_priority(session: WriteSession, admin: Admin, run_id: uuid.UUID, body: PriorityIn) -> RunRead:
    """Moves a run in the line; one that works now keeps it for the next time that it waits."""
    run = _visible(session, admin, run_id)
    line.set_priority(session, run, body.priority, by=admin)
    return _reads(session, [run])[0]


@router.get("/runs/{run_id}/log")
def run_log(
    session: ReadSession, person: Researcher, run_id: uuid.UUID, after: After = None, limit: Limit = 200
) -> Page[LineRead]:
    """The oldest first."""
    found, cursor = history.lines_after(session, _visible(session, person, run_id), after=after, limit=limit)
    return Page(items=[LineRead.model_validate(line) for line in found], next=cursor)


@router.get("/runs/{run_id}/metrics")
def run_metrics(
    session: ReadSession,
    person: Researcher,
    run_id: uuid.UUID,
    after: int = Query(0, ge=0, lt=2**31, description="Steps after this one."),
) -> dict[str, Any]:
    """The run's steps after `after`, oldest first, at most 2,000 at a time; ask again from the last one."""
    run = _visible(session, person, run_id)
    rows = history.metric_rows(session, run, after=after)
    return {
        "state": run.state,
        "step": run.step,
        "total": run.total_steps,
        "groups": [
            {"title": group.title, "series": [{"key": key, "label": label} for key, label in group.series]}
            for group in curves.groups([row.values for row in rows])
        ],
        "rows": [{"step": row.step, "values": row.values} for row in rows],
    }


def _visible(session: Session, person: Researcher, run_id: uuid.UUID) -> Run:
    run = session.get(Run, run_id)
    project = session.get(Project, run.project_id) if run else None
    if run is None or project is None:
        raise NotFound("There is no such run.")
    projects.visible_project(session, person, project.slug)
    return run


def _reads(session: Session, runs: list[Run]) -> list[RunRead]:
    ids = [run.id for run in runs]
    inputs, made = history.inputs_by_run(session, ids), registry.models_by_run(session, ids)
    waits = waiting.waits_of(session, runs)
    return [
        RunRead(
            id=run.id, name=run.name, kind=run.kind, state=run.state, step=run.step, total_steps=run.total_steps,
            note=run.progress_note, priority=run.priority, device=run.device, memory_on_gpu=run.gpu_bytes,
            memory_on_cpu=run.cpu_bytes, ahead=waits[run.id].ahead if run.id in waits else None,
            waits=waits[run.id].why if run.id in waits else None, error=run.error, config=run.config, result=run.result,
            inputs=[InputRead.model_validate(each) for each in inputs[run.id]],
            models=[model.id for model in made[run.id]], code_version=run.code_version,
            created_at=run.created_at, started_at=run.started_at, finished_at=run.finished_at,
        )
        for run in runs
    ]  # fmt: skip
