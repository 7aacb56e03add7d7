"""Datasets: the snapshots, a form to freeze one, each one's page and its downloads."""

import uuid
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from app.accounts.deps import Researcher
from app.accounts.models import Group
from app.core.db import reading, reading_one_state, writing
from app.core.deps import Number, ReadSession
from app.core.errors import DomainError, Invalid
from app.core.pages import render
from app.core.storage import get_artefacts
from app.datasets import service
from app.datasets.comparing import check_kinds, compare, others_of
from app.datasets.datasheet_text import as_markdown
from app.datasets.exports import FORMS, FileType
from app.datasets.freeze_form import FreezeForm
from app.datasets.models import SnapshotKind
from app.datasets.schemas import in_words, read_filter
from app.labeling.choices import author_names
from app.labeling.progress import batches_of
from app.projects.deps import CurrentProject
from app.projects.models import Project
from app.prompts.models import Split, UseCase

router = APIRouter(prefix="/p/{slug}/datasets")
PREVIEWED = 5


@router.get("")
def snapshot_list(
    request: Request,
    session: ReadSession,
    _: Researcher,
    project: CurrentProject,
    demonstrations: Number | None = None,
    rankings: Number | None = None,
) -> Response:
    imported = None if rankings is None else {"rankings": rankings, "demonstrations": demonstrations or 0}
    return _list_page(request, session, project, imported=imported)


def _list_page(
    request: Request,
    session: ReadSession,
    project: Project,
    *,
    error: DomainError | None = None,
    typed: FreezeForm | None = None,
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
        typed=typed or FreezeForm(include_simulated=True),
        groups=list(Group),
        batches=batches_of(session, project),
        authors=author_names(session, project),
    )


@router.post("")
def freeze(
    request: Request, person: Researcher, project: CurrentProject, form: Annotated[FreezeForm, Form()]
) -> Response:
    try:
        with reading_one_state() as session:
            frozen = service.freeze(session, project, form.kind, form.wanted(), refuse_empty=True)
    except Invalid as error:
        with reading() as session:
            return _list_page(request, session, project, error=error, typed=form)
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
        datasheet=as_markdown(snapshot, with_title=False),
        splits=list(Split),
        others=others_of(snapshot, service.snapshots_of(session, project, snapshot.kind)),
    )


@router.get("/{snapshot_id}/diff")
def diff_page(
    request: Request,
    _: Researcher,
    project: CurrentProject,
    snapshot_id: uuid.UUID,
    against: uuid.UUID,
    figures: bool = False,
) -> Response:
    """What the two are at once; what they don't share, for which both are read whole, where it is asked for."""
    with reading() as session:  # over before the rows are read, which takes a while
        after = service.snapshot_of_project(session, project, snapshot_id)
        before = service.snapshot_of_project(session, project, against)
    check_kinds(before, after)
    return render(
        request,
        "datasets/diff.html",
        after=after,
        before=before,
        said={each.id: in_words(read_filter(each.filter)) for each in (before, after)},
        found=compare(before, after) if figures else None,
    )
