"""The pages that bring prompts in: send, look at the first rows, follow, read the report, take back what was held."""

import uuid
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from app.accounts.deps import Admin
from app.core.clock import now
from app.core.config import get_settings
from app.core.deps import ReadSession, SentForm, WriteSession
from app.core.errors import DomainError
from app.core.pages import render, wants_fragment
from app.core.storable import storable
from app.core.storage import get_artefacts
from app.projects.deps import CurrentProject
from app.projects.models import Project
from app.prompts.intake import forms, report, sending, service, settling
from app.prompts.intake.acts import Act, act_on, take_all_back
from app.prompts.intake.preview import preview
from app.prompts.intake.settings import CapBy, ImportSettings, PersonalData, Target
from app.prompts.models import HeldFor, ImportState, PromptImport, Verdict

router = APIRouter(prefix="/p/{slug}/prompts")
_PATIENCE = timedelta(seconds=10)  # an import that waits longer has no worker


class Then(StrEnum):
    look = "look"
    start = "start"


@router.get("/import")
def import_page(request: Request, session: ReadSession, _: Admin, project: CurrentProject) -> Response:
    return _import_page(request, session, project)


def _import_page(
    request: Request,
    session: Session,
    project: Project,
    *,
    error: DomainError | None = None,
    typed: str = "",
    hub: dict[str, str] | None = None,
) -> Response:
    return render(
        request, "prompts/import.html", status=error.status if error else 200, error=error, typed=typed,
        hub=hub or {}, use_hub=get_settings().use_hub,
        imports=service.imports_of(session, project)[0],
    )  # fmt: skip


@router.post("/import")
def send_file(
    request: Request,
    session: WriteSession,
    admin: Admin,
    project: CurrentProject,
    file: Annotated[UploadFile | None, File()] = None,
    pasted: Annotated[str, Form()] = "",
) -> Response:
    """Keep a file or what was pasted, to be looked at. Nothing is imported yet."""
    try:
        row = sending.send(session, project, by=admin, store=get_artefacts(), file=file, pasted=pasted)
    except DomainError as error:
        return _import_page(request, session, project, error=error, typed=pasted)
    return RedirectResponse(_address(project, row), 303)


@router.post("/import/hub")
def fetch_from_hub(
    request: Request,
    session: WriteSession,
    admin: Admin,
    project: CurrentProject,
    sent: SentForm,
) -> Response:
    """Have a worker fetch a dataset, to be looked at then."""
    named = {name: storable(value).strip() for name, value in sent.items() if isinstance(value, str) and value.strip()}
    try:
        row = service.add_from_hub(session, project, forms.hub_source(named), by=admin)
    except DomainError as error:
        return _import_page(request, session, project, error=error, hub=named)
    return RedirectResponse(_address(project, row), 303)


def _address(project: Project, row: PromptImport) -> str:
    return f"/p/{project.slug}/prompts/imports/{row.id}"


@router.get("/imports/{import_id}")
def one_import(
    request: Request, session: ReadSession, _: Admin, project: CurrentProject, import_id: uuid.UUID
) -> Response:
    row = service.import_of_project(session, project, import_id)
    if row.state == ImportState.draft:
        typed = forms.typed_of(ImportSettings.model_validate(row.settings))
        return _draft_page(request, session, project, row, typed)
    waits_in_vain = row.state == ImportState.queued and now() - row.queued_at > _PATIENCE
    left_out = {
        verdict: report.first_left_out(session, row, verdict) for verdict in (Verdict.refused, Verdict.duplicate)
    }
    template = "prompts/_import.html" if wants_fragment(request) else "prompts/import_progress.html"
    has_standing = row.state in (ImportState.done, ImportState.stopped, ImportState.failed)
    standing = report.standing(session, row) if has_standing else None
    return render(
        request, template, row=row, left_out=left_out, standing=standing, waits_in_vain=waits_in_vain, report=report,
        verdicts=Verdict, start=_address(project, row),
    )  # fmt: skip


def _draft_page(
    request: Request,
    session: Session,
    project: Project,
    row: PromptImport,
    typed: dict[str, str],
    error: DomainError | None = None,
) -> Response:
    return render(
        request, "prompts/import_draft.html", status=error.status if error else 200, row=row, typed=typed, error=error,
        preview=preview(session, project, row, get_artefacts()), targets=list(Target), caps=list(CapBy),
        personal=list(PersonalData), verdicts=Verdict, start=_address(project, row),
    )  # fmt: skip


@router.post("/imports/{import_id}")
def choose_settings(
    request: Request,
    session: WriteSession,
    admin: Admin,
    project: CurrentProject,
    import_id: uuid.UUID,
    sent: SentForm,
    then: Annotated[Then, Form()] = Then.look,
) -> Response:
    """Set how a draft is to be taken; then show its first rows so, or start it."""
    row = service.import_of_project(session, project, import_id)
    typed = {name: value for name, value in sent.items() if isinstance(value, str)}
    try:
        service.choose(session, row, forms.settings_typed(typed))
        if then is Then.start:
            service.start(session, row, by=admin)
    except DomainError as error:
        if row.state != ImportState.draft:
            raise
        return _draft_page(request, session, project, row, typed, error)
    return RedirectResponse(_address(project, row), 303)


@router.post("/imports/{import_id}/{act}")
def act_on_import(admin: Admin, project: CurrentProject, import_id: uuid.UUID, act: Act) -> Response:
    row = act_on(project, import_id, act, by=admin)
    return RedirectResponse(f"/p/{project.slug}/prompts/import" if act == "discard" else _address(project, row), 303)


@router.get("/imports/{import_id}/held/{reason}")
def held_page(
    request: Request,
    session: ReadSession,
    _: Admin,
    project: CurrentProject,
    import_id: uuid.UUID,
    reason: HeldFor,
    after: uuid.UUID | None = None,
) -> Response:
    row = service.import_of_project(session, project, import_id)
    prompts = settling.held_prompts(session, row, reason, after=after)
    return render(
        request, "prompts/import_held.html", row=row, reason=reason, prompts=prompts, report=report,
        start=_address(project, row),
    )  # fmt: skip


@router.post("/imports/{import_id}/held/{reason}/take-back")
def take_back(admin: Admin, project: CurrentProject, import_id: uuid.UUID, reason: HeldFor) -> Response:
    return RedirectResponse(_address(project, take_all_back(project, import_id, reason, by=admin)), 303)
