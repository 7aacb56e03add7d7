"""What an import left out, as a file."""

import uuid
from typing import Literal

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse

from app.accounts.deps import Admin
from app.core.deps import ReadSession
from app.core.storage import get_artefacts
from app.projects.deps import CurrentProject
from app.prompts.intake import report, service

router = APIRouter(prefix="/p/{slug}/prompts")
_MEDIA = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


@router.get("/imports/{import_id}/left-out.{kind}")
def download_left_out(
    session: ReadSession, _: Admin, project: CurrentProject, import_id: uuid.UUID, kind: Literal["jsonl", "csv"]
) -> Response:
    """Every row that an import did not take: its line, the verdict, the reason and what it says."""
    row = service.import_of_project(session, project, import_id)
    write = report.left_out_csv if kind == "csv" else report.left_out_jsonl
    name = f'attachment; filename="left-out-{row.id}.{kind}"'
    headers = {"Content-Disposition": name}
    return StreamingResponse(write(get_artefacts(), row), media_type=_MEDIA[kind], headers=headers)
