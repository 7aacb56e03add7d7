"""Projects, members and guidelines, through HTTP."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from app.accounts.models import Person
from app.core.db import writing
from app.projects import service
from app.projects.models import Project

SignIn = Callable[[Person], TestClient]


def test_front_page_leads_straight_to_the_work(
    client: TestClient, sign_in: SignIn, admin: Person, labeler: Person, project: Project
) -> None:
    assert client.get("/").headers["location"].startswith("/sign-in")
    assert sign_in(admin).get("/").headers["location"] == f"/p/{project.slug}"
    assert sign_in(labeler).get("/").headers["location"] == f"/p/{project.slug}/desk"


def test_a_project_of_others_looks_as_if_it_did_not_exist(sign_in: SignIn, outsider: Person, project: Project) -> None:
    client = sign_in(outsider)
    assert client.get(f"/p/{project.slug}/guidelines").status_code == 404
    there = client.get(f"/p/{project.slug}/guidelines").text.replace(project.slug, "X")
    assert there == client.get("/p/no-such/guidelines").text.replace("no-such", "X")


@pytest.mark.parametrize(
    ("name", "slug", "status"), [("Helper", "helper", 303), ("", "helper", 422), ("H", "../x", 422)]
)
def test_new_project(sign_in: SignIn, admin: Person, name: str, slug: str, status: int) -> None:
    answer = sign_in(admin).post("/projects", data={"name": name, "slug": slug})
    assert answer.status_code == status
    if status == 422:
        assert f'value="{slug}"' in answer.text, "what was typed must still be there"


def test_labelers_make_no_projects(sign_in: SignIn, labeler: Person) -> None:
    assert sign_in(labeler).post("/projects", data={"name": "x", "slug": "x"}).status_code == 403


def test_members_are_added_and_removed(sign_in: SignIn, admin: Person, outsider: Person, project: Project) -> None:
    client, address = sign_in(admin), f"/p/{project.slug}/people"
    client.post(address, data={"person_id": str(outsider.id)})
    assert f"{address}/{outsider.id}/remove" in client.get(address).text
    client.post(f"{address}/{outsider.id}/remove")
    assert f"{address}/{outsider.id}/remove" not in client.get(address).text


def test_next_round_closes_the_current_one(installation: object, admin: Person, project: Project) -> None:
    with writing() as session:
        first = service.current_round(session, project)
        second = service.start_next_round(session, project, by=admin)
        assert first.closed_at is not None
        assert (second.number, service.current_round(session, project).id) == (2, second.id)
