"""The project a request is about, if the person may see it."""

from typing import Annotated

from fastapi import Depends, Request

from app.accounts.deps import SignedIn
from app.core.db import reading
from app.projects import service
from app.projects.models import Project


def current_project(slug: str, person: SignedIn, request: Request) -> Project:
    """The project of the address. One that the person may not see answers as if it did not exist."""
    with reading() as session:
        project = service.visible_project(session, person, slug)
    request.state.project = project
    return project


CurrentProject = Annotated[Project, Depends(current_project)]
