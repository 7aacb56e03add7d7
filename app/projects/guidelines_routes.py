"""Guidelines: what holds now, every version with who accepted it, and writing a new one with a preview."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from app.accounts.deps import Admin, SignedIn
from app.accounts.models import Role
from app.core.deps import Number, ReadSession, WriteSession
from app.core.errors import DomainError
from app.core.pages import render
from app.projects import acceptance, service
from app.projects.deps import CurrentProject
from app.projects.models import GuidelinesKind, Project

router = APIRouter(prefix="/p/{slug}/guidelines")


@router.get("")
def guidelines_page(request: Request, session: ReadSession, _: SignedIn, project: CurrentProject) -> Response:
    return render(
        request,
        "projects/guidelines.html",
        versions=service.versions_of_guidelines(session, project),
        accepted=acceptance.count_accepted(session, project),
        schema=service.newest_rating_schema(session, project),
    )


@router.get("/{kind}/new")
def new_version_page(
    request: Request, session: ReadSession, _: Admin, project: CurrentProject, kind: GuidelinesKind
) -> Response:
    newest = service.newest_guidelines(session, project, kind)
    typed = {"text": newest.text if newest else "", "based_on": newest.version if newest else 0}
    return _new_version_page(request, session, project, kind, typed)


def _new_version_page(
    request: Request,
    session: Session,
    project: Project,
    kind: GuidelinesKind,
    typed: dict[str, Any],
    *,
    status: int = 200,
    error: DomainError | None = None,
) -> Response:
    newest = service.newest_guidelines(session, project, kind)
    return render(
        request, "projects/new_guidelines.html", status=status, kind=kind, newest=newest, typed=typed, error=error
    )


@router.post("/{kind}/preview")
def preview(
    request: Request,
    session: ReadSession,
    _: Admin,
    project: CurrentProject,
    kind: GuidelinesKind,
    text: Annotated[str, Form()] = "",
    based_on: Annotated[Number, Form()] = 0,
) -> Response:
    """The text as labelers would read it, beside the text. Nothing is stored."""
    return _new_version_page(request, session, project, kind, {"text": text, "based_on": based_on})


@router.post("/{kind}")
def publish(
    request: Request,
    session: WriteSession,
    admin: Admin,
    project: CurrentProject,
    kind: GuidelinesKind,
    text: Annotated[str, Form()] = "",
    based_on: Annotated[Number | None, Form()] = None,
) -> Response:
    try:
        published = service.publish_guidelines(session, project, kind, text, by=admin, based_on=based_on)
    except DomainError as error:
        typed = {"text": text, "based_on": based_on or 0}
        return _new_version_page(request, session, project, kind, typed, status=error.status, error=error)
    return RedirectResponse(f"/p/{project.slug}/guidelines/{kind.value}/{published.version}", 303)


@router.get("/{kind}/{version}")
def version_page(
    request: Request,
    session: ReadSession,
    person: SignedIn,
    project: CurrentProject,
    kind: GuidelinesKind,
    version: Number,
) -> Response:
    """One version as it stands, for everyone; who accepted it, for those who lead."""
    guidelines = service.version_of_guidelines(session, project, kind, version)
    before = service.version_of_guidelines(session, project, kind, version - 1) if version > 1 else None
    return render(
        request,
        "projects/guidelines_version.html",
        guidelines=guidelines,
        changed=acceptance.changes(before, guidelines) if before else [],
        newest=service.newest_guidelines(session, project, kind),
        readers=acceptance.readers_of(session, project, guidelines) if person.role != Role.labeler else None,
    )
