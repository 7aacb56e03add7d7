"""Every route × everybody: whom it lets in is declared, and those alone come in."""

import re
import uuid
from dataclasses import dataclass

import pytest
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from app.accounts.access import Access, declared_access
from app.accounts.models import Person, Role
from app.core.db import writing
from app.main import create_app
from app.projects.models import Project
from tests.conftest import SignIn
from tests.factories import make_person, make_project

OPEN = {"/api/v1/openapi.json", "/static"}  # what scripts may ask, and the files of the pages: nothing of a project
BODY_FIRST = "/api/v1/assignments/{assignment_id}/submit"  # asks who it is with the lease, after it has read the body


@dataclass(frozen=True, slots=True)
class Way:
    method: str
    path: str
    access: Access | None

    @property
    def is_of_project(self) -> bool:
        return "{slug}" in self.path

    def address(self, project: Project) -> str:
        """With ids that belong to nothing."""
        made = self.path.replace("{slug}", project.slug)
        return re.sub(r"\{(\w+)(:\w+)?\}", lambda found: _filling(found[1]), made)


def _filling(name: str) -> str:
    return str(uuid.UUID(int=7)) if name.endswith("_id") else "1" if name in ("number", "version") else "nothing"


def ways() -> list[Way]:
    found = []
    for route in iter_route_contexts(create_app().routes):
        if route.path in OPEN:
            continue
        found += [Way(method, route.path or "", declared_access(route)) for method in sorted(route.methods or ())]
    return found


WAYS = ways()


def test_every_route_says_whom_it_lets_in() -> None:
    assert [way for way in WAYS if way.access is None] == []
    open_to_all = {way.path for way in WAYS if way.access is Access.anyone}
    asked_by_machines = {"/healthz", "/readyz", "/metrics"}  # the last asks for a token of its own
    assert open_to_all == asked_by_machines | {
        "/sign-in",
        "/sign-in/second-step",
        "/sign-in/sso",
        "/sign-in/sso/callback",
        "/sign-out",
        "/welcome/{token}",
        "/api/v1/sign-in",
    }


def _ask(browser: TestClient, way: Way, project: Project) -> int:
    """The status; a way to the sign-in page is a refusal."""
    answer = browser.request(way.method, way.address(project), headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code in (200, 204, 303, 401, 403, 404, 409, 413, 422, 503), f"{way}: {answer.status_code}"
    is_sent_away = answer.status_code == 303 and answer.headers["location"].startswith("/sign-in")
    return 401 if is_sent_away else answer.status_code


def _wrong(browser: TestClient, project: Project, *, lets_in: set[Access], refused: int) -> dict[str, int]:
    """Ways that were let in and should not be, or the reverse."""
    asked = [way for way in WAYS if way.access is not Access.anyone]
    statuses = {way: _ask(browser, way, project) for way in asked}
    return {
        f"{way.method} {way.path}": status
        for way, status in statuses.items()
        if (status in (401, 403) if way.access in lets_in else status != refused)
    }


def test_nobody_is_let_in_anywhere_else(client: TestClient, project: Project) -> None:
    assert _wrong(client, project, lets_in=set(), refused=401) == {f"POST {BODY_FIRST}": 422}


@pytest.mark.parametrize(
    ("role", "lets_in"),
    [
        (Role.labeler, {Access.signed_in}),
        (Role.researcher, {Access.signed_in, Access.researcher}),
        (Role.admin, set(Access)),
    ],
)
def test_each_role_is_let_in_where_it_may_and_nowhere_else(
    sign_in: SignIn, project: Project, role: Role, lets_in: set[Access]
) -> None:
    with writing() as session:
        person = make_person(session, role=role, project=project)
    assert _wrong(sign_in(person), project, lets_in=lets_in, refused=403) == {}


@pytest.mark.parametrize("role", [Role.labeler, Role.researcher])
def test_who_is_of_another_project_finds_none_of_this(sign_in: SignIn, project: Project, role: Role) -> None:
    with writing() as session:
        elsewhere = make_project(session)
        person: Person = make_person(session, role=role, project=elsewhere)
    browser = sign_in(person)
    of_project = [way for way in WAYS if way.is_of_project]
    assert {way for way in of_project if _ask(browser, way, project) not in (403, 404)} == set()
