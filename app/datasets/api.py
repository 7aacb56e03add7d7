"""Snapshots as JSON: freezing, listing, and where each can be downloaded."""

import uuid
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from app.accounts.deps import Researcher
from app.core.api import After, ApiRoute, Limit, Page
from app.core.db import reading_one_state, writing
from app.core.deps import ReadSession
from app.datasets import service
from app.datasets.exports import FORMS
from app.datasets.models import Snapshot, SnapshotKind
from app.projects.deps import CurrentProject
from app.projects.models import Project

router = APIRouter(prefix="/api/v1/projects/{slug}/snapshots", route_class=ApiRoute)


class SnapshotIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: SnapshotKind
    filter: dict[str, Any] = Field(default_factory=dict, description="As a snapshot's own `filter` says; empty: all.")


class SnapshotRead(BaseModel):
    id: uuid.UUID
    kind: SnapshotKind
    sha256: str
    rows: int
    counts: dict[str, int]
    filter: dict[str, Any]
    frozen_at: datetime
    downloads: dict[str, str] = Field(
        description="An address for each form, behind the server's own; add `&file_type=` and `&split=` to it."
    )


@router.get("")
def list_snapshots(
    session: ReadSession,
    _: Researcher,
    project: CurrentProject,
    kind: SnapshotKind | None = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[SnapshotRead]:
    """The newest first."""
    found, cursor = service.snapshots_after(session, project, kind, after=after, limit=limit)
    return Page(items=[_read(project, snapshot) for snapshot in found], next=cursor)


@router.get("/{snapshot_id}")
def read_snapshot(session: ReadSession, _: Researcher, project: CurrentProject, snapshot_id: uuid.UUID) -> SnapshotRead:
    return _read(project, service.snapshot_of_project(session, project, snapshot_id))


@router.post("")
def freeze(person: Researcher, project: CurrentProject, body: SnapshotIn) -> SnapshotRead:
    """The same labels and filter give the same snapshot again."""
    with reading_one_state() as session:
        frozen = service.freeze(session, project, body.kind, body.filter, refuse_empty=True)
    with writing() as session:
        return _read(project, service.keep(session, frozen, person))


def _read(project: Project, snapshot: Snapshot) -> SnapshotRead:
    address = f"/p/{project.slug}/datasets/{snapshot.id}/download?form="
    return SnapshotRead(
        id=snapshot.id, kind=snapshot.kind, sha256=snapshot.sha256, rows=snapshot.rows, counts=snapshot.counts,
        filter=snapshot.filter, frozen_at=snapshot.created_at,
        downloads={form.value: address + form.value for form in FORMS[snapshot.kind]},
    )  # fmt: skip
