"""Signing in, one-time links and the people page, through HTTP."""

import pytest
from fastapi.testclient import TestClient

from app.accounts import service
from app.accounts.cookies import local_path
from app.accounts.models import Person, Role
from app.core.db import reading, writing


@pytest.fixture
def welcome(installation: object) -> tuple[str, str]:
    """An invited admin's address and one-time link."""
    with writing() as session:
        person = service.add_person(session, "Ada@Example.org", name="Ada", role=Role.admin)
        return person.email, service.new_sign_in_link(session, person)


def test_one_time_link_sets_the_password_once(client: TestClient, welcome: tuple[str, str]) -> None:
    email, link = welcome
    assert "Welcome, Ada" in client.get(link).text
    assert client.get(link).status_code == 200, "looking at a link must not use it up"
    too_short = client.post(link, data={"password": "short"})
    assert (too_short.status_code, "too short" in too_short.text) == (422, True)
    done = client.post(link, data={"password": "three red boats"})
    assert (done.status_code, done.headers["location"]) == (303, "/")
    assert client.get("/projects").status_code == 200
    assert client.get(link).status_code == 404
    client.cookies.clear()
    assert client.post("/sign-in", data={"email": email, "password": "three red boats"}).status_code == 303


def test_wrong_password_and_unknown_address_answer_alike(client: TestClient, welcome: tuple[str, str]) -> None:
    email, link = welcome
    client.post(link, data={"password": "three red boats"})
    client.cookies.clear()
    answers = [client.post("/sign-in", data={"email": who, "password": "wrong"}) for who in (email, "no@one.org")]
    assert [answer.status_code for answer in answers] == [422, 422]
    assert answers[0].text.replace(email, "") == answers[1].text.replace("no@one.org", "")


def test_signing_out_revokes_the_session(client: TestClient, sign_in: object, admin: Person) -> None:
    sign_in(admin)
    token = client.cookies["touchstone_session"]
    client.post("/sign-out")
    client.cookies.set("touchstone_session", token)
    assert client.get("/people", headers={"accept": "application/json"}).status_code == 401


def test_only_admins_see_people(client: TestClient, sign_in: object, admin: Person, labeler: Person) -> None:
    assert client.get("/people").headers["location"] == "/sign-in?then=/people"
    assert sign_in(labeler).get("/people").status_code == 403
    assert sign_in(admin).get("/people").status_code == 200


def test_invitation_shows_a_link_and_keeps_what_was_typed_on_error(
    client: TestClient, sign_in: object, admin: Person
) -> None:
    sign_in(admin)
    invited = client.post("/people", data={"name": "Lin", "email": "lin@example.org", "role": "labeler"})
    assert "/welcome/" in invited.text
    again = client.post("/people", data={"name": "Lin Two", "email": "LIN@example.org", "role": "labeler"})
    assert again.status_code == 409
    assert 'value="Lin Two"' in again.text


def test_pausing_a_person_signs_them_out(client: TestClient, sign_in: object, admin: Person, labeler: Person) -> None:
    with writing() as session:
        token = service.start_session(session, labeler)
    sign_in(admin).post(f"/people/{labeler.id}/state", data={"state": "paused"})
    with reading() as session:
        assert service.person_of_token(session, token) is None


def test_cross_site_posts_are_refused(client: TestClient) -> None:
    form = {"email": "a@b.org", "password": "x"}
    assert client.post("/sign-in", data=form, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert client.post("/sign-in", data=form, headers={"origin": "https://evil.example"}).status_code == 403
    assert client.post("/sign-in", data=form, headers={"origin": "http://testserver"}).status_code == 422


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", ""])
def test_no_one_is_sent_to_another_site(target: str) -> None:
    assert local_path(target) == "/"


def test_every_page_carries_the_security_headers(client: TestClient) -> None:
    headers = client.get("/sign-in").headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert headers["x-content-type-options"] == "nosniff"
