"""A script that asks too often is told to wait, and takes nothing from others."""

import pytest
from fastapi.testclient import TestClient

from app.accounts import tokens
from app.accounts.models import Person
from app.core.config import get_settings
from app.core.db import writing
from tests.conftest import SignIn


@pytest.fixture
def three_a_minute(monkeypatch: pytest.MonkeyPatch, client: TestClient) -> None:
    monkeypatch.setattr(get_settings(), "api_requests_per_minute", 3)


def new_token(person: Person) -> str:
    with writing() as session:
        return tokens.create_token(session, person, name="loop", scope=tokens.Scope.read, days=1)


@pytest.mark.usefixtures("three_a_minute")
def test_a_token_that_asks_too_often_waits(sign_in: SignIn, labeler: Person) -> None:
    client = sign_in(labeler)
    wild, calm = ({"Authorization": f"Bearer {new_token(labeler)}"} for _ in range(2))
    answers = [client.get("/api/v1/me", headers=wild) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert "Retry-After" in answers[-1].json()["mend"]
    assert client.get("/api/v1/me", headers=calm).status_code == 200
    assert client.get("/api/v1/me").status_code == 200  # a person at the desk shows no token
