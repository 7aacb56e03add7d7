"""Nobody learns by answer or by time whether an address has an account: every try hashes a password once, or none does.

Hashings are counted, since a timing would say more of the machine than of the code.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pyotp
import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient

from app.accounts import second_factor, service, sign_in_limits
from app.accounts.models import Person, PersonState, Role
from app.core.clock import now
from app.core.config import Passwords, get_settings
from app.core.db import writing
from app.core.passwords import _hasher
from tests.factories import make_person

KINDS = ["unknown", "not an address", "with a password", "invited", "paused", "erased", "with a second factor", "admin"]


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Each hashing that the real hasher does, with the cost that its hash asks for."""
    done: list[str] = []

    def _verify(self: PasswordHasher, hashed: str, password: str) -> bool:
        done.append(hashed.rsplit("$", 2)[0])
        return verify(self, hashed, password)

    verify = PasswordHasher.verify
    with monkeypatch.context() as patched:
        patched.setattr(PasswordHasher, "verify", _verify)
        yield done


def address_of(kind: str) -> str:
    """The address of a person of that kind, or of nobody."""
    if kind in ("unknown", "not an address"):
        return "no@one.org" if kind == "unknown" else "' OR 1=1 --"
    with writing() as session:
        person: Person = make_person(session, role=Role.admin if kind == "admin" else Role.labeler)
        if kind != "invited":
            person.password_hash = _hasher.hash("three red boats")
        if kind in ("paused", "erased"):
            person.state = PersonState.paused
        if kind == "erased":
            person.erased_at, person.password_hash = now(), None
        if kind == "with a second factor":
            secret = second_factor.begin(session, person).secret.replace(" ", "")
            second_factor.confirm(session, person, pyotp.TOTP(secret).now())
        return person.email


@pytest.mark.parametrize("passwords", list(Passwords))
def test_every_wrong_password_costs_one_hashing_of_the_same_cost_and_gets_the_same_answer(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, passwords: Passwords
) -> None:
    monkeypatch.setattr(get_settings(), "passwords", passwords)
    answers, costs = set(), set()
    for email in map(address_of, KINDS):
        with counting(monkeypatch) as done:
            page = client.post("/sign-in", data={"email": email, "password": "wrong"})
            in_place = client.post("/api/v1/sign-in", json={"email": email, "password": "wrong"})
        assert len(done) == 2, email
        costs |= set(done)
        typed = page.text.replace(email, "").replace("&#39; OR 1=1 --", "")
        answers.add((page.status_code, typed, tuple(sorted(page.cookies)), in_place.status_code, in_place.text))
    assert len(costs) == 1, "each with the memory and rounds of the others"
    assert len(answers) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_who_guessed_too_often_is_told_so_without_a_hashing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    email = address_of(kind)
    with writing() as session:
        for _ in range(sign_in_limits.FROM_ONE_ADDRESS_AT_ONE_ACCOUNT):
            sign_in_limits.count_failure(session, email, "testclient")
    with counting(monkeypatch) as done:
        answers = [client.post("/sign-in", data={"email": email, "password": p}) for p in ("wrong", "three red boats")]
    assert ([answer.status_code for answer in answers], done) == ([429, 429], [])


def test_a_link_that_is_nobodys_says_nothing(client: TestClient) -> None:
    with writing() as session:
        person = make_person(session)
        used = service.new_sign_in_link(session, person)
    assert client.post(used, data={"password": "three red boats"}).status_code == 303
    client.cookies.clear()
    first, second = client.get(used), client.get("/welcome/made-up")
    assert (first.status_code, first.text) == (second.status_code, second.text)
