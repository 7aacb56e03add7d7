"""The project a request is about, if the person may see it."""

from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from app.accounts.deps import SignedIn, person_asking
from app.accounts.models import Person
from app.core.db import reading
from app.projects import service
from app.projects.models import Project


def current_project(slug: str, person: SignedIn, request: Request) -> Project:
    """The project of the address. One that the person may not see answers as if it did not exist."""
    with reading() as session:
        return _project_of(session, person, slug, request)


def _project_of(session: Session, person: Person, slug: str, request: Request) -> Project:
    project = service.visible_project(session, person, slug)
    request.state.project = project
    return project


def member_asking(request: Request, slug: str) -> tuple[Person, Project]:
    """Who is signed in, and the project, for routes that pages call with every item; see `person_asking`."""
    with reading() as session:
        person = person_asking(session, request)
        return person, _project_of(session, person, slug, request)


CurrentProject = Annotated[Project, Depends(current_project)]
