"""Projects as JSON."""

import uuid

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from app.accounts.deps import SignedIn
from app.core.api import ApiRoute
from app.core.deps import ReadSession
from app.projects import service
from app.projects.deps import CurrentProject
from app.projects.models import Project

router = APIRouter(prefix="/api/v1/projects", route_class=ApiRoute)


class ProjectRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    slug: str
    name: str


class ProjectsRead(BaseModel):
    items: list[ProjectRead]


@router.get("")
def list_projects(session: ReadSession, person: SignedIn) -> ProjectsRead:
    """All that you may see, the oldest first."""
    found = service.visible_projects(session, person)
    return ProjectsRead(items=[ProjectRead.model_validate(project) for project in found])


@router.get("/{slug}", response_model=ProjectRead)
def read_project(project: CurrentProject) -> Project:
    return project
