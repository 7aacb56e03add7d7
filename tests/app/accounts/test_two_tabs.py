"""Two tabs of one person at the same moment: neither breaks, and both mean the same."""

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import second_factor, service
from app.accounts.models import Person, PersonState, ProviderIdentity, Role
from app.accounts.single_sign_on import person_of_claims
from app.core.config import NewPeople, Settings
from app.core.db import get_engine, reading, writing
from tests.app.labeling.test_leases import wait_for_a_lock

CLAIMS = {"sub": "ada-1", "email": "ada@example.org", "email_verified": True, "name": "Ada"}


@pytest.fixture
def installation_url(database_url: str) -> str:
    return database_url


def twice(work: Callable[[Session], object]) -> list[object]:
    """The second begins while the first is not committed."""
    done: list[object] = []

    def _work() -> None:
        with writing() as session:
            done.append(work(session))

    second = threading.Thread(target=_work)
    with writing() as session:
        done.append(work(session))
        second.start()
        if get_engine().dialect.name == "postgresql":
            wait_for_a_lock(get_engine())
    second.join(30)
    return done


def test_a_second_factor_is_shown_alike(installation: Settings, labeler: Person) -> None:
    first, second = twice(lambda session: second_factor.begin(session, labeler))
    assert first == second


@pytest.mark.parametrize("is_invited", [True, False])
def test_single_sign_on_makes_one_person(
    installation: Settings, is_invited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "oidc_issuer", "https://id.example.org")
    monkeypatch.setattr(installation, "oidc_new_people", NewPeople.welcome)
    if is_invited:
        with writing() as session:
            service.add_person(session, CLAIMS["email"], name="Ada", role=Role.labeler)
    first, second = twice(lambda session: person_of_claims(session, CLAIMS).id)
    assert first == second
    with reading() as session:
        assert session.scalars(select(ProviderIdentity.person_id)).all() == [first]


def test_who_comes_by_the_provider_alone_is_let_in_at_once(installation: Settings, admin: Person) -> None:
    """As after a screening: they have no password to wait for."""
    with writing() as session:
        ada = service.add_person(session, "ada@example.org", name="Ada", role=Role.labeler, is_candidate=True)
        service.set_state(session, ada, PersonState.active, by=admin)
        assert ada.state == PersonState.invited
        session.add(ProviderIdentity(person_id=ada.id, issuer="https://id.example.org", subject="ada-1"))
        ada.state = PersonState.screening
        service.set_state(session, ada, PersonState.active, by=admin)
        assert ada.state == PersonState.active
