"""The page that takes what models from elsewhere wrote."""

from typing import Annotated

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import Response

from app.accounts.deps import Admin
from app.core.db import writing
from app.core.errors import DomainError, Invalid
from app.core.pages import render
from app.evals.outputs import bring_outputs
from app.projects.deps import CurrentProject
from app.prompts.readers import ImportFormat, read_rows
from app.prompts.uploads import what_was_sent

router = APIRouter(prefix="/p/{slug}/evaluations/outputs")
SHOWN = 50  # reasons


def _page(request: Request, *, status: int = 200, **values: object) -> Response:
    return render(
        request, "evals/outputs.html", status=status, **{"error": None, "brought": None, "typed": "", **values}
    )


@router.get("")
def outputs_page(request: Request, _: Admin, project: CurrentProject) -> Response:
    return _page(request)


@router.post("")
def bring(
    request: Request,
    admin: Admin,
    project: CurrentProject,
    file: Annotated[UploadFile | None, File()] = None,
    pasted: Annotated[str, Form()] = "",
) -> Response:
    """Take the good rows of a file or of what was pasted, and tell of the others."""
    try:
        content, form, source = what_was_sent(file, pasted)
        if form is ImportFormat.text:
            example = '{"prompt": "…", "model": "…", "output": "…"}'
            raise Invalid("These are not rows.", mend=f"Paste lines like {example}, or send a table.")
        rows = read_rows(content, form, needed=None)
        with writing() as session:
            brought = bring_outputs(session, project, rows, source=source, by=admin)
    except DomainError as error:
        return _page(request, status=error.status, error=error, typed=pasted)
    typed = pasted if brought.refused and not brought.taken else ""
    return _page(request, brought=brought, shown=brought.refused[:SHOWN], typed=typed)
