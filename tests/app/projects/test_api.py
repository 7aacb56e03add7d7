"""Projects, and who is asking, by JSON."""

from app.accounts.models import Person
from app.core.db import writing
from app.projects.models import Project
from tests.conftest import SignIn
from tests.factories import make_project


def test_one_sees_ones_own_projects(sign_in: SignIn, researcher: Person, admin: Person, project: Project) -> None:
    with writing() as session:
        other = make_project(session, name="Another")
    client = sign_in(researcher)
    assert client.get("/api/v1/projects").json()["items"] == [client.get(f"/api/v1/projects/{project.slug}").json()]
    assert client.get(f"/api/v1/projects/{other.slug}").status_code == 404
    assert len(sign_in(admin).get("/api/v1/projects").json()["items"]) == 2


def test_a_script_can_ask_who_it_is(sign_in: SignIn, researcher: Person) -> None:
    me = sign_in(researcher).get("/api/v1/me").json()
    assert me == {"id": str(researcher.id), "name": researcher.name, "role": "researcher"}
