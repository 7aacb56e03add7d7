import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.accounts.models import Person
from app.core.db import reading, writing
from app.projects.models import Project
from app.prompts.models import Prompt
from tests.conftest import SignIn
from tests.factories import make_prompt


def hidden(page: str) -> dict[str, str]:
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))


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


def test_upload_is_previewed_then_confirmed(sign_in: SignIn, admin: Person, project: Project) -> None:
    client, start = sign_in(admin), f"/p/{project.slug}/prompts"
    file = ("my.jsonl", b'{"prompt": "A <b>dog</b>"}\n{oops\n', "application/jsonl")
    preview = client.post(f"{start}/import", files={"file": file})
    assert preview.status_code == 200
    assert "1 will be taken" in preview.text
    assert "is not JSON" in preview.text
    assert "A &lt;b&gt;dog" in preview.text
    with reading() as session:
        assert session.scalars(select(Prompt)).all() == []
    done = client.post(f"{start}/import/confirm", data=hidden(preview.text))
    assert done.headers["location"] == f"{start}?taken=1"
    assert "1 prompt was imported" in client.get(done.headers["location"]).text
    with reading() as session:
        assert session.scalars(select(Prompt.source)).all() == ["my.jsonl"]


def test_confirming_twice_imports_once(sign_in: SignIn, admin: Person, project: Project) -> None:
    client, start = sign_in(admin), f"/p/{project.slug}/prompts"
    fields = hidden(client.post(f"{start}/import", data={"pasted": "One\nTwo"}).text)
    assert client.post(f"{start}/import/confirm", data=fields).status_code == 303
    again = client.post(f"{start}/import/confirm", data=fields)
    assert again.status_code == 404
    assert "may have been imported already" in again.text
    with reading() as session:
        assert len(session.scalars(select(Prompt)).all()) == 2


@pytest.mark.parametrize("upload", ["", "../../touchstone.db", "0" * 64])
def test_an_upload_that_is_not_there_is_refused(sign_in: SignIn, admin: Person, project: Project, upload: str) -> None:
    data = {"upload": upload, "form": "text", "source": "x"}
    answer = sign_in(admin).post(f"/p/{project.slug}/prompts/import/confirm", data=data)
    assert answer.status_code in (404, 422)


def test_what_was_pasted_stays_when_it_is_refused(sign_in: SignIn, admin: Person, project: Project) -> None:
    client, start = sign_in(admin), f"/p/{project.slug}/prompts/import"
    answer = client.post(start, data={"pasted": '[{"prompt": "Mine"'})
    assert answer.status_code == 422
    assert "JSON list" in answer.text
    assert "Mine" in answer.text
    assert client.post(start, data={"pasted": " "}).status_code == 422


def test_a_file_over_the_limit_is_refused(
    sign_in: SignIn, admin: Person, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.core.config import get_settings

    monkeypatch.setattr(get_settings(), "upload_mib", 1)
    file = ("big.txt", b"a" * (2**20 + 1), "text/plain")
    answer = sign_in(admin).post(f"/p/{project.slug}/prompts/import", files={"file": file})
    assert answer.status_code == 422
    assert "larger than 1 MiB" in answer.text


def test_list_shows_filters_and_escapes(sign_in: SignIn, admin: Person, project: Project) -> None:
    with writing() as session:
        make_prompt(session, project, text="<script>alert(1)</script> kite")
        make_prompt(session, project, text="A boat")
    client, start = sign_in(admin), f"/p/{project.slug}/prompts"
    page = client.get(f"{start}?q=kite&split=train").text
    assert "&lt;script&gt;alert(1)" in page
    assert "A boat" not in page
    assert "No prompt is like that" in client.get(f"{start}?split=test").text
    assert client.get(f"{start}?split=nonsense").status_code == 422
