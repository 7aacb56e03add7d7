"""Datasets: the snapshots, a form to freeze one, each one's page and its downloads."""

import uuid
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from app.accounts.deps import Researcher
from app.core.db import reading, reading_one_state, writing
from app.core.deps import ReadSession
from app.core.errors import DomainError, Invalid
from app.core.pages import render
from app.core.storage import get_artefacts
from app.datasets import service
from app.datasets.export_files import BLOCK, export, file_name
from app.datasets.exports import FORMS, ExportForm, FileType
from app.datasets.models import Snapshot, SnapshotKind
from app.datasets.schemas import in_words, read_filter
from app.projects.deps import CurrentProject
from app.projects.models import Project
from app.prompts.models import Split, UseCase

router = APIRouter(prefix="/p/{slug}/datasets")
PREVIEWED = 5
_MEDIA = {
    FileType.jsonl: "application/x-ndjson",
    FileType.csv: "text/csv; charset=utf-8",
    FileType.parquet: "application/vnd.apache.parquet",
}


@router.get("")
def snapshot_list(
    request: Request,
    session: ReadSession,
    _: Researcher,
    project: CurrentProject,
    demonstrations: int | None = None,
    rankings: int | None = None,
) -> Response:
    imported = None if rankings is None else {"rankings": rankings, "demonstrations": demonstrations or 0}
    return _list_page(request, session, project, imported=imported)


def _list_page(
    request: Request,
    session: ReadSession,
    project: Project,
    *,
    error: DomainError | None = None,
    typed: dict[str, Any] | None = None,
    imported: dict[str, int] | None = None,
) -> Response:
    snapshots = service.snapshots_of(session, project)
    return render(
        request,
        "datasets/list.html",
        status=error.status if error else 200,
        snapshots=snapshots,
        creators=service.creators(session, snapshots),
        said={each.id: in_words(read_filter(each.filter)) for each in snapshots},
        kinds=list(SnapshotKind),
        splits=list(Split),
        use_cases=list(UseCase),
        error=error,
        imported=imported,
        typed=typed or {"kind": "comparisons", "purpose": "training", "include_simulated": True},
    )


@router.post("")
def freeze(
    request: Request,
    person: Researcher,
    project: CurrentProject,
    kind: Annotated[SnapshotKind, Form()],
    purpose: Annotated[str, Form()] = "training",
    splits: Annotated[list[str], Form()] = [],  # noqa: B006  FastAPI copies it
    use_cases: Annotated[list[str], Form()] = [],  # noqa: B006
    rounds: Annotated[str, Form()] = "",
    include_simulated: Annotated[bool, Form()] = False,
    without_adjudications: Annotated[bool, Form()] = False,
) -> Response:
    wanted = {
        "purpose": purpose,
        "splits": splits,
        "use_cases": use_cases,
        "rounds": rounds.replace(",", " ").split(),
        "include_simulated": include_simulated,
        "use_adjudications": not without_adjudications,
    }
    try:
        with reading_one_state() as session:
            frozen = service.freeze(session, project, kind, wanted, refuse_empty=True)
    except Invalid as error:
        typed = {**wanted, "kind": kind.value, "rounds": rounds}
        with reading() as session:
            return _list_page(request, session, project, error=error, typed=typed)
    with writing() as session:
        snapshot = service.keep(session, frozen, person)
    return RedirectResponse(f"/p/{project.slug}/datasets/{snapshot.id}", 303)


@router.get("/{snapshot_id}")
def snapshot_page(
    request: Request, session: ReadSession, _: Researcher, project: CurrentProject, snapshot_id: uuid.UUID
) -> Response:
    snapshot = service.snapshot_of_project(session, project, snapshot_id)
    return render(
        request,
        "datasets/snapshot.html",
        snapshot=snapshot,
        creator=service.creators(session, [snapshot]).get(snapshot.created_by) if snapshot.created_by else None,
        said=in_words(read_filter(snapshot.filter)),
        size=get_artefacts().size(snapshot.storage_key),
        rows=list(islice(service.snapshot_rows(snapshot), PREVIEWED)),
        forms=FORMS[snapshot.kind],
        file_types=list(FileType),
        splits=list(Split),
    )


@router.get("/{snapshot_id}/download")
def download(
    _: Researcher,
    project: CurrentProject,
    snapshot_id: uuid.UUID,
    form: ExportForm,
    file_type: FileType = FileType.jsonl,
    split: Split | None = None,
) -> Response:
    snapshot = _snapshot(project, snapshot_id)
    of_split = split.value if split else ""
    content = export(snapshot.kind, service.snapshot_rows(snapshot), form=form, file_type=file_type, split=of_split)
    return _attachment(content, file_name(project.slug, snapshot.kind, snapshot.sha256, form, file_type, of_split),
                       _MEDIA[file_type])  # fmt: skip


@router.get("/{snapshot_id}/snapshot.parquet")
def download_whole(_: Researcher, project: CurrentProject, snapshot_id: uuid.UUID) -> Response:
    """The very file that runs read, byte for byte."""
    snapshot = _snapshot(project, snapshot_id)
    name = f"{project.slug}.{snapshot.kind.value}-{snapshot.sha256[:8]}.parquet"
    return _attachment(_blocks(snapshot.storage_key), name, _MEDIA[FileType.parquet])


def _snapshot(project: Project, snapshot_id: uuid.UUID) -> Snapshot:
    """Looked up in a session that is over before the first byte is sent: a slow download holds no connection."""
    with reading() as session:
        return service.snapshot_of_project(session, project, snapshot_id)


def _blocks(key: str) -> Iterator[bytes]:
    with get_artefacts().reading(key) as file:
        while block := file.read(BLOCK):
            yield block


def _attachment(content: Iterator[bytes], name: str, media: str) -> Response:
    return StreamingResponse(
        content, media_type=media, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )
