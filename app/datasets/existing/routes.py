"""The page that takes demonstrations and preferences from elsewhere, with a preview of what they become."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import RedirectResponse, Response

from app.accounts.deps import Admin
from app.core.deps import ReadSession, WriteSession
from app.core.errors import DomainError
from app.core.pages import render
from app.core.storage import get_artefacts
from app.datasets.existing.cells import label_rows
from app.datasets.existing.planning import Report
from app.datasets.existing.shapes import TITLES, Shape, read_labels
from app.datasets.existing.taking import check_labels, take_labels
from app.labeling.ranks import in_words
from app.projects.deps import CurrentProject
from app.prompts import uploads
from app.prompts.readers import ImportFormat

router = APIRouter(prefix="/p/{slug}/datasets/import")
OPENING, SHOWN = 160, 5
EachItsOwn = Literal[""]


def _page(request: Request, *, status: int = 200, **values: object) -> Response:
    blank: dict[str, object] = {"error": None, "report": None, "rows": [], "typed": "", "shape": "", "simulated": False}
    return render(request, "datasets/import.html", status=status, titles=TITLES, **{**blank, **values})


@router.get("")
def import_page(request: Request, _: Admin, project: CurrentProject) -> Response:
    return _page(request)


@router.post("")
def preview(
    request: Request,
    session: ReadSession,
    _: Admin,
    project: CurrentProject,
    file: Annotated[UploadFile | None, File()] = None,
    pasted: Annotated[str, Form()] = "",
    shape: Annotated[Shape | EachItsOwn, Form()] = "",
    simulated: Annotated[bool, Form()] = False,
) -> Response:
    """Read the file or the pasted rows and tell what they would become. Nothing is imported yet."""
    typed: dict[str, Any] = {"typed": pasted, "shape": shape, "simulated": simulated}
    try:
        content, form, source = uploads.what_was_sent(file, pasted)
        report = check_labels(session, project, read_labels(label_rows(content, form), shape or None), file=source)
    except DomainError as error:
        return _page(request, status=error.status, error=error, **typed)
    upload = "" if report.is_empty else uploads.keep_upload(get_artefacts(), project.id, content)
    kept = typed | {"upload": upload, "form": form.value, "source": source}
    return _page(request, report=report, rows=_openings(report), **kept)


def _openings(report: Report) -> list[dict[str, object]]:
    """The first rows as they are understood."""
    return [
        {
            "number": each.number,
            "prompt": each.labeled.messages[-1]["content"][:OPENING],
            "orders": [(order.labeler, _said(order.ranks)) for order in each.labeled.orders[:SHOWN]],
            "written": [(written.labeler, written.text[:OPENING]) for written in each.labeled.written],
            "completions": [candidate.text[:OPENING] for candidate in each.labeled.candidates],
        }
        for each in report.taken[:SHOWN]
        if each.labeled
    ]


def _said(ranks: tuple[int | None, ...]) -> str:
    return in_words({chr(ord("A") + place): rank for place, rank in enumerate(ranks) if rank is not None})


@router.post("/confirm")
def confirm(
    request: Request,
    session: WriteSession,
    admin: Admin,
    project: CurrentProject,
    upload: Annotated[str, Form()],
    form: Annotated[ImportFormat, Form()],
    source: Annotated[str, Form()] = "upload",
    shape: Annotated[Shape | EachItsOwn, Form()] = "",
    simulated: Annotated[bool, Form()] = False,
) -> Response:
    try:
        content = uploads.read_upload(get_artefacts(), project.id, upload)
        rows = read_labels(label_rows(content, form), shape or None)
        report = take_labels(session, project, rows, file=source[:200], by=admin, simulated=simulated)
    except DomainError as error:
        return _page(request, status=error.status, error=error)
    session.commit()  # the upload goes only after its labels are safe
    uploads.forget_upload(get_artefacts(), project.id, upload)
    told = f"demonstrations={report.counts['demonstrations']}&rankings={report.counts['rankings']}"
    return RedirectResponse(f"/p/{project.slug}/datasets?{told}", 303)
