"""Projects: the list, a new one, its members and its rules."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from app.accounts import service as accounts
from app.accounts.deps import Admin, SignedIn
from app.accounts.models import Role
from app.core.deps import ReadSession, SentForm, WriteSession
from app.core.errors import DomainError
from app.core.pages import render
from app.projects import guidelines_routes, pauses, service
from app.projects.deps import CurrentProject
from app.projects.settings import ProjectSettings, change_settings, settings_of

router = APIRouter()
router.include_router(guidelines_routes.router)


@router.get("/")
def front_page(session: ReadSession, person: SignedIn) -> Response:
    """Straight to the work: the only project's desk or overview, else the list."""
    projects = service.visible_projects(session, person)
    if len(projects) != 1:
        return RedirectResponse("/projects", 303)
    return RedirectResponse(f"/p/{projects[0].slug}" + ("/desk" if person.role == Role.labeler else ""), 303)


@router.get("/projects")
def project_list(request: Request, session: ReadSession, person: SignedIn) -> Response:
    projects = service.visible_projects(session, person)
    return render(request, "projects/list.html", projects=projects, typed={}, error=None)


@router.post("/projects")
def create(
    request: Request,
    session: WriteSession,
    admin: Admin,
    name: Annotated[str, Form()] = "",
    slug: Annotated[str, Form()] = "",
) -> Response:
    try:
        project = service.create_project(session, name, slug=slug, by=admin)
    except DomainError as error:
        projects = service.visible_projects(session, admin)
        return render(
            request,
            "projects/list.html",
            status=error.status,
            projects=projects,
            error=error,
            typed={"name": name, "slug": slug},
        )
    return RedirectResponse(f"/p/{project.slug}", 303)


@router.get("/p/{slug}/people")
def members_page(request: Request, session: ReadSession, _: Admin, project: CurrentProject) -> Response:
    members = service.members(session, project)
    known = {member.id for member in members}
    others = [person for person in accounts.people(session) if person.id not in known]
    paused = pauses.paused_in(session, project)
    return render(request, "projects/members.html", members=members, others=others, paused=paused)


@router.post("/p/{slug}/people")
def add_member(
    session: WriteSession, admin: Admin, project: CurrentProject, person_id: Annotated[uuid.UUID, Form()]
) -> Response:
    service.add_member(session, project, accounts.person_by_id(session, person_id), by=admin)
    return RedirectResponse(f"/p/{project.slug}/people", 303)


@router.post("/p/{slug}/people/{person_id}/remove")
def remove_member(session: WriteSession, admin: Admin, project: CurrentProject, person_id: uuid.UUID) -> Response:
    service.remove_member(session, project, accounts.person_by_id(session, person_id), by=admin)
    return RedirectResponse(f"/p/{project.slug}/people", 303)


@router.get("/p/{slug}/settings")
def settings_page(request: Request, _: Admin, project: CurrentProject, stored: bool = False) -> Response:
    return _settings_page(request, settings_of(project).model_dump(), stored=stored)


def _settings_page(request: Request, typed: dict[str, Any], *, status: int = 200, **values: Any) -> Response:
    values = {"error": None, "stored": False, **values}
    fields = ProjectSettings.model_fields
    return render(request, "projects/settings.html", status=status, fields=fields, typed=typed, **values)


@router.post("/p/{slug}/settings")
def save_settings(
    request: Request, session: WriteSession, admin: Admin, project: CurrentProject, form: SentForm
) -> Response:
    typed = {name: value for name, value in form.items() if isinstance(value, str)}
    try:
        change_settings(session, project, typed, by=admin)
    except DomainError as error:
        return _settings_page(request, typed, status=error.status, error=error)
    return RedirectResponse(f"/p/{project.slug}/settings?stored=true", 303)
