"""Runs as JSON: a run's figures, for its curves and for scripts."""

import uuid
from typing import Any

from fastapi import APIRouter, Query

from app.accounts.deps import Researcher
from app.core.deps import ReadSession
from app.core.errors import NotFound
from app.projects import service as projects
from app.projects.models import Project
from app.runs import curves, history
from app.runs.models import Run

router = APIRouter(prefix="/api/v1/runs")


@router.get("/{run_id}/metrics")
def run_metrics(
    session: ReadSession,
    person: Researcher,
    run_id: uuid.UUID,
    after: int = Query(0, ge=0, description="Steps after this one."),
) -> dict[str, Any]:
    """The run's steps after `after`, oldest first, at most 2,000 at a time; ask again from the last one."""
    run = session.get(Run, run_id)
    project = session.get(Project, run.project_id) if run else None
    if run is None or project is None:
        raise NotFound("There is no such run.")
    projects.visible_project(session, person, project.slug)
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
