from fastapi.testclient import TestClient

from app.accounts.models import Person
from app.core.db import writing
from app.projects.models import Project
from tests.conftest import SignIn
from tests.factories import make_prompt


def test_signed_out_is_sent_to_sign_in(client: TestClient, project: Project) -> None:
    answer = client.get(f"/p/{project.slug}/prompts")
    assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/sign-in")


def test_labelers_see_neither_the_pool_nor_the_import(sign_in: SignIn, labeler: Person, project: Project) -> None:
    client = sign_in(labeler)
    assert client.get(f"/p/{project.slug}/prompts").status_code == 403
    assert client.post(f"/p/{project.slug}/prompts/import", data={"pasted": "One"}).status_code == 403


def test_researchers_see_the_pool_and_do_not_import(sign_in: SignIn, researcher: Person, project: Project) -> None:
    client = sign_in(researcher)
    page = client.get(f"/p/{project.slug}/prompts")
    assert page.status_code == 200
    assert "There are no prompts yet" in page.text
    assert client.get(f"/p/{project.slug}/prompts/import").status_code == 403


def test_list_shows_filters_and_escapes(sign_in: SignIn, admin: Person, project: Project) -> None:
    with writing() as session:
        kite = make_prompt(session, project, text="<script>alert(1)</script> kite")
        make_prompt(session, project, text="A boat")
    client, start = sign_in(admin), f"/p/{project.slug}/prompts"
    page = client.get(f"{start}?q=kite&split=train").text
    assert f'/explore/prompts/{kite.id}">&lt;script&gt;alert(1)' in page
    assert "A boat" not in page
    assert "No prompt is like that" in client.get(f"{start}?split=test").text
    assert client.get(f"{start}?split=nonsense").status_code == 422
