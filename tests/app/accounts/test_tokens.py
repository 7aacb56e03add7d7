"""API tokens work in scripts as their person, no further than they say, and no longer than they should."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.accounts import service, tokens
from app.accounts.models import ApiToken, AuditEvent, Person, PersonState
from app.core.clock import now
from app.core.db import reading, writing
from app.projects.models import Project
from tests.conftest import SignIn

Asks = Callable[..., int]


def make(client: TestClient, *, scope: str = "write", name: str = "notebook", days: int = 90) -> str:
    page = client.post("/me/tokens", data={"name": name, "scope": scope, "days": days})
    assert page.status_code == 200, page.text
    return page.text.split('<pre class="copyable">')[1].split("<")[0]


@pytest.fixture
def asks(client: TestClient) -> Asks:
    """The status of a request that shows a token and no cookie."""

    def ask(secret: str, address: str, method: str = "GET", **more: object) -> int:
        client.cookies.clear()
        return client.request(method, address, headers={"Authorization": f"Bearer {secret}"}, **more).status_code

    return ask


def test_a_token_does_what_its_person_may(sign_in: SignIn, researcher: Person, project: Project, asks: Asks) -> None:
    secret = make(sign_in(researcher))
    assert asks(secret, f"/p/{project.slug}/datasets") == 200
    assert asks(secret, f"/p/{project.slug}/datasets", "POST", data={"kind": "prompts"}) == 422  # nothing to freeze
    assert asks(secret, f"/p/{project.slug}/prompts/import") == 403  # an admin's


def test_one_that_may_only_read_changes_nothing(
    sign_in: SignIn, researcher: Person, project: Project, asks: Asks
) -> None:
    secret = make(sign_in(researcher), scope="read")
    assert asks(secret, f"/p/{project.slug}/datasets") == 200
    assert asks(secret, f"/p/{project.slug}/datasets", "POST", data={"kind": "prompts"}) == 403
    assert asks(secret, "/me/tokens", "POST", data={"name": "more"}) == 403


def test_it_is_shown_once_and_kept_as_a_hash(sign_in: SignIn, labeler: Person) -> None:
    client = sign_in(labeler)
    secret = make(client)
    assert secret.startswith(tokens.PREFIX)
    page = client.get("/me/tokens").text
    assert "notebook" in page
    assert secret not in page
    with reading() as session:
        kept = session.scalars(select(ApiToken)).one()
        assert secret not in kept.token_hash
        assert [e.action for e in session.scalars(select(AuditEvent)) if e.subject_id == kept.id] == ["token.create"]


def test_it_ends_when_revoked_run_out_or_its_person_is_paused(
    sign_in: SignIn, labeler: Person, admin: Person, asks: Asks
) -> None:
    client = sign_in(labeler)
    secret, other = make(client), make(client, name="other")
    assert asks(secret, "/me") == asks(other, "/me") == 200
    with writing() as session:
        kept = {token.name: token for token in session.scalars(select(ApiToken))}
        kept["other"].expires_at = now() - timedelta(seconds=1)
        revoked = kept["notebook"].id
    assert sign_in(labeler).post(f"/me/tokens/{revoked}/revoke").status_code == 303
    assert asks(secret, "/api/v1/openapi.json") == 200  # for everyone
    assert asks(secret, "/me") == asks(other, "/me") == 401
    third = make(sign_in(labeler), name="third")
    with writing() as session:
        person = session.get_one(Person, labeler.id)
        service.set_state(session, person, PersonState.paused, by=session.get_one(Person, admin.id))
    assert asks(third, "/me") == 401


def test_nobody_revokes_anothers(sign_in: SignIn, labeler: Person, admin: Person, asks: Asks) -> None:
    secret = make(sign_in(labeler))
    with reading() as session:
        token_id = session.scalars(select(ApiToken.id)).one()
    assert sign_in(admin).post(f"/me/tokens/{token_id}/revoke").status_code == 404
    assert asks(secret, "/me") == 200


def test_what_is_wrong_is_said_and_what_was_typed_stays(sign_in: SignIn, labeler: Person) -> None:
    client = sign_in(labeler)
    page = client.post("/me/tokens", data={"name": "kept", "days": "9999"})
    assert (page.status_code, "9999 days can&#39;t be" in page.text, 'value="kept"' in page.text) == (422, True, True)
    assert "needs a name" in client.post("/me/tokens", data={"name": " "}).text
    for number in range(tokens.MOST_TOKENS):
        make(client, name=f"token {number}")
    assert "You have 20 tokens already" in client.post("/me/tokens", data={"name": "more"}).text
