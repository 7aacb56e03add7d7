"""Guidelines through HTTP: new versions with a preview, what changed, and who accepted what."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from app.accounts.models import Person, PersonState
from app.core.db import reading, writing
from app.projects import acceptance, service
from app.projects.models import GuidelinesKind, Project
from tests.factories import make_person

SignIn = Callable[[Person], TestClient]


def address(project: Project, rest: str = "") -> str:
    return f"/p/{project.slug}/guidelines/ranking{rest}"


def test_guidelines_are_versioned_and_never_changed(sign_in: SignIn, admin: Person, project: Project) -> None:
    client = sign_in(admin)
    assert client.post(address(project), data={"text": "  "}).status_code == 422
    published = client.post(address(project), data={"text": "# New rules", "based_on": "1"})
    assert (published.status_code, published.headers["location"]) == (303, address(project, "/2"))
    with reading() as session:
        newest = service.newest_guidelines(session, project, GuidelinesKind.ranking)
    assert newest is not None
    assert (newest.version, newest.text) == (2, "# New rules")
    changed = client.get(address(project, "/2")).text
    assert "<ins># New rules</ins>" in changed
    assert "<del># Be helpful</del>" in changed
    assert "version 2 is newer" in client.get(address(project, "/1")).text
    assert client.get(address(project, "/3")).status_code == 404


def test_a_preview_shows_and_stores_nothing(sign_in: SignIn, admin: Person, project: Project) -> None:
    answer = sign_in(admin).post(address(project, "/preview"), data={"text": "Be **kind**.", "based_on": "1"})
    assert answer.status_code == 200
    assert "<strong>kind</strong>" in answer.text
    assert "Be **kind**.</textarea>" in answer.text
    with reading() as session:
        assert len(service.versions_of_guidelines(session, project)[GuidelinesKind.ranking]) == 1


def test_two_admins_do_not_overwrite_each_other(sign_in: SignIn, admin: Person, project: Project) -> None:
    client = sign_in(admin)
    assert 'name="based_on" value="1"' in client.get(address(project, "/new")).text
    for text, status in (("From one.", 303), ("From the other.", 409)):
        answer = client.post(address(project), data={"text": text, "based_on": "1"})
        assert answer.status_code == status
    assert "From the other.</textarea>" in answer.text, "what was typed must still be there"
    assert "From one." in answer.text, "and what was published meanwhile"
    assert 'name="based_on" value="2"' in answer.text
    assert client.post(address(project), data={"text": "From both.", "based_on": "2"}).status_code == 303


def test_guidelines_can_not_smuggle_markup(sign_in: SignIn, admin: Person, project: Project) -> None:
    hostile = "<script>alert(1)</script> ![x](http://evil.example/x.png) [y](javascript:alert(1))"
    client = sign_in(admin)
    preview = client.post(address(project, "/preview"), data={"text": hostile, "based_on": "1"}).text
    client.post(address(project), data={"text": hostile})
    pages = [client.get(f"/p/{project.slug}/guidelines").text, client.get(address(project, "/2")).text]
    for page in (*pages, preview.split('id="preview"')[1]):
        assert "<script>alert" not in page
        assert "<img" not in page
        assert 'href="javascript' not in page


def test_who_accepted_a_version_is_for_leads(
    sign_in: SignIn, admin: Person, researcher: Person, labeler: Person, project: Project
) -> None:
    with writing() as session:
        other = make_person(session, project=project)
        gone = make_person(session, project=project)
        session.get_one(Person, gone.id).state = PersonState.paused
        published = service.publish_guidelines(session, project, GuidelinesKind.ranking, "Version two.")
        acceptance.accept(session, labeler, project, published.id)
    for person in (admin, researcher):
        page = sign_in(person).get(address(project, "/2")).text
        assert "1 accepted, 1 labeler has not" in page
        assert labeler.name in page
        assert other.name in page
        assert gone.name not in page
    page = sign_in(labeler).get(address(project, "/2")).text
    assert other.name not in page
    assert "Accepted by" not in sign_in(labeler).get(f"/p/{project.slug}/guidelines").text


@pytest.mark.parametrize("what", ["", "/preview"])
def test_only_admins_write_guidelines(sign_in: SignIn, researcher: Person, project: Project, what: str) -> None:
    client = sign_in(researcher)
    assert client.post(address(project, what), data={"text": "Mine."}).status_code == 403
    assert client.get(address(project, "/new")).status_code == 403
