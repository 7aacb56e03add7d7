"""A snapshot's downloads: in every form, and the very file that runs read."""

import json
import uuid
from collections.abc import Iterator
from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from app.accounts.deps import Researcher
from app.core.db import reading
from app.core.deps import ReadSession
from app.core.storage import get_artefacts
from app.datasets import service
from app.datasets.datasheet import manifest
from app.datasets.datasheet_text import as_markdown
from app.datasets.downloads import Download, answer, skipped_to
from app.datasets.events import events_of
from app.datasets.export_files import as_jsonl, etag_of, export, file_name
from app.datasets.exports import ExportForm, FileType, check_form, needed
from app.datasets.models import Snapshot
from app.projects.deps import CurrentProject
from app.projects.models import Project
from app.prompts.models import Split

router = APIRouter(prefix="/p/{slug}/datasets")
_MEDIA = {
    FileType.jsonl: "application/x-ndjson",
    FileType.csv: "text/csv; charset=utf-8",
    FileType.parquet: "application/vnd.apache.parquet",
}


@router.get("/{snapshot_id}/download")
@router.head("/{snapshot_id}/download", include_in_schema=False)
def download(
    request: Request,
    _: Researcher,
    project: CurrentProject,
    snapshot_id: uuid.UUID,
    form: ExportForm,
    file_type: FileType = FileType.jsonl,
    split: Split | None = None,
) -> Response:
    snapshot, of_split = _snapshot(project, snapshot_id), split.value if split else ""
    check_form(snapshot.kind, form)

    def blocks(start: int) -> Iterator[bytes]:
        rows = service.snapshot_rows(snapshot, columns=needed(form))
        return skipped_to(start, export(snapshot.kind, rows, form=form, file_type=file_type, split=of_split))

    name = file_name(project.slug, snapshot.kind, snapshot.sha256, form, file_type, of_split)
    etag = etag_of(snapshot.sha256, form, file_type, of_split)
    return answer(request, Download(name, _MEDIA[file_type], etag, blocks))


@router.get("/{snapshot_id}/snapshot.parquet")
@router.head("/{snapshot_id}/snapshot.parquet", include_in_schema=False)
def download_whole(request: Request, _: Researcher, project: CurrentProject, snapshot_id: uuid.UUID) -> Response:
    """The very file that runs read, byte for byte."""
    snapshot = _snapshot(project, snapshot_id)
    name = f"{_name(project, snapshot)}.parquet"
    artefacts, key = get_artefacts(), snapshot.storage_key
    blocks = partial(artefacts.blocks, key)
    return answer(request, Download(name, _MEDIA[FileType.parquet], snapshot.sha256, blocks, artefacts.size(key)))


@router.get("/events.jsonl")
def download_events(_: Researcher, project: CurrentProject) -> Response:
    """What happened at the desk, event by event, under pseudonyms. One that breaks off begins anew."""
    name = {"Content-Disposition": f'attachment; filename="{project.slug}.events.jsonl"'}
    return StreamingResponse(as_jsonl(events_of(project)), media_type=_MEDIA[FileType.jsonl], headers=name)


@router.get("/{snapshot_id}/datasheet.md")
def download_datasheet(
    session: ReadSession, _: Researcher, project: CurrentProject, snapshot_id: uuid.UUID
) -> Response:
    snapshot = service.snapshot_of_project(session, project, snapshot_id)
    return _small(as_markdown(snapshot), f"{_name(project, snapshot)}.datasheet.md", "text/markdown; charset=utf-8")


@router.get("/{snapshot_id}/manifest.json")
def download_manifest(session: ReadSession, _: Researcher, project: CurrentProject, snapshot_id: uuid.UUID) -> Response:
    snapshot = service.snapshot_of_project(session, project, snapshot_id)
    content = json.dumps(manifest(snapshot), ensure_ascii=False, indent=2) + "\n"
    return _small(content, f"{_name(project, snapshot)}.manifest.json", "application/json")


def _small(content: str, name: str, media: str) -> Response:
    return Response(content, media_type=media, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _name(project: Project, snapshot: Snapshot) -> str:
    return f"{project.slug}.{snapshot.kind.value}-{snapshot.sha256[:8]}"


def _snapshot(project: Project, snapshot_id: uuid.UUID) -> Snapshot:
    """Looked up in a session that is over before the first byte is sent: a slow download holds no connection."""
    with reading() as session:
        return service.snapshot_of_project(session, project, snapshot_id)
