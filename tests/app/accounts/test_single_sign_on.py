"""Single sign-on against a real provider over HTTP: whom it lets in, in which role, and what is refused."""

import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pyotp
import pytest
from fastapi.testclient import TestClient
from joserfc.jwk import RSAKey
from pydantic import SecretStr
from sqlalchemy import select

from app.accounts import provider as providers
from app.accounts import second_factor, service
from app.accounts.models import AuditEvent, Person, PersonState, ProviderIdentity, Role, SignIn
from app.core.config import NewPeople, Passwords, RoleName, Settings, WrongSettings, get_settings
from app.core.db import reading, writing
from tests.app.accounts.oidc_provider import CLIENT, SECRET, Provider, serving
from tests.conftest import SignIn as SignInAs
from tests.conftest import forget_settings

Set = Callable[..., None]
CALLBACK = "/sign-in/sso/callback"


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    with serving() as provider:
        yield provider


@pytest.fixture
def settings(installation: Settings, monkeypatch: pytest.MonkeyPatch) -> Set:
    def _set(**values: object) -> None:
        for name, value in values.items():
            monkeypatch.setattr(get_settings(), name, value)

    return _set


@pytest.fixture
def provider(running: Provider, settings: Set) -> Provider:
    """Ours, which vouches for Ada until a test says otherwise."""
    providers._known.clear()
    running.claims = {"sub": "ada-1", "email": "Ada@Example.org", "email_verified": True, "name": "Ada L."}
    running.more, running.changed, running.metadata, running.signs_with = {}, {}, {}, None
    running.is_broken = False
    running.asked.clear()
    settings(
        oidc_issuer=running.issuer,
        oidc_client_id=CLIENT,
        oidc_client_secret=SecretStr(SECRET),
        oidc_name="Example ID",
    )
    return running


@pytest.fixture
def ada(installation: Settings) -> Person:
    """Invited as a labeler; she never chose a password."""
    with writing() as session:
        return service.add_person(session, "ada@example.org", name="Ada", role=Role.labeler)


def leave(client: TestClient, then: str = "/me") -> str:
    """As a browser goes to the provider; gives the address that the provider sends it back to."""
    away = client.get(f"/sign-in/sso?then={then}")
    assert away.status_code == 303, away.text
    back = urlsplit(httpx.get(away.headers["location"]).headers["location"])
    assert back.path == CALLBACK
    return f"{back.path}?{back.query}"


def come(client: TestClient, then: str = "/me") -> Any:
    client.cookies.clear()
    return client.get(leave(client, then))


def is_in(client: TestClient) -> bool:
    return client.get("/me").status_code == 200


def again(person: Person) -> Person:
    with reading() as session:
        return session.get_one(Person, person.id)


def refused(answer: Any, status: int, said: str) -> bool:
    assert (answer.status_code, said in answer.text, "/sign-in/sso?then=" in answer.text) == (status, True, True)
    return True


def test_the_invited_come_in_by_their_verified_address_and_stay_known_by_their_subject(
    client: TestClient, provider: Provider, ada: Person
) -> None:
    assert "Sign in with Example ID" in client.get("/sign-in?then=/me").text
    done = come(client, "/me/sign-ins")
    assert (done.status_code, done.headers["location"], is_in(client)) == (303, "/me/sign-ins", True)
    assert again(ada).state == PersonState.active
    provider.claims |= {"email": "countess@example.org", "email_verified": False}
    assert come(client).status_code == 303
    with reading() as session:
        assert session.scalars(select(ProviderIdentity.person_id)).all() == [ada.id]
        assert {row.person_id for row in session.scalars(select(SignIn))} == {ada.id}


def test_who_is_not_invited_or_not_verified_stays_out(client: TestClient, provider: Provider, settings: Set) -> None:
    assert refused(come(client), 403, "Nobody has invited ada@example.org")
    settings(oidc_new_people=NewPeople.welcome)
    for wrong, said in (({"email_verified": False}, "has not verified"), ({"email": None}, "does not tell your")):
        provider.changed = wrong
        assert refused(come(client), 403, said)
    with reading() as session:
        assert session.scalars(select(Person).where(Person.role == Role.labeler)).all() == []
    provider.changed = {"email_verified": None}
    settings(oidc_trusts_emails=True)
    assert come(client).status_code == 303
    with reading() as session:
        new = session.scalars(select(Person).where(Person.email == "ada@example.org")).one()
    assert (new.name, new.role, new.state) == ("Ada L.", Role.labeler, PersonState.active)


def test_an_address_that_was_given_to_someone_else_does_not_give_the_account_away(
    client: TestClient, sign_in: SignInAs, provider: Provider, ada: Person, admin: Person
) -> None:
    come(client)
    provider.claims["sub"] = "ada-2"
    assert refused(come(client), 409, "belongs to another account")
    assert sign_in(admin).post(f"/people/{ada.id}/unlink").status_code == 303
    assert come(client).status_code == 303
    with reading() as session:
        assert session.scalars(select(ProviderIdentity.subject)).all() == ["ada-2"]


def test_roles_follow_the_provider_at_each_sign_in(
    client: TestClient, provider: Provider, ada: Person, admin: Person, settings: Set
) -> None:
    settings(oidc_roles={"ml": RoleName.researcher, "leads": RoleName.admin})
    provider.claims["groups"] = ["everyone", "ml"]
    assert come(client).status_code == 303
    assert again(ada).role == Role.researcher
    provider.claims["groups"] = ["ml", "leads"]
    come(client)
    assert again(ada).role == Role.admin
    provider.claims["groups"] = []
    assert refused(come(client), 403, "has no role in Touchstone")
    assert again(ada).role == Role.admin, "who stays out is not changed"
    settings(oidc_role_otherwise=RoleName.labeler)
    assert come(client).status_code == 303
    assert again(ada).role == Role.labeler
    with reading() as session:
        changes = session.scalars(select(AuditEvent).where(AuditEvent.action == "person.role")).all()
    assert [(each.person_id, each.details["by"]) for each in changes] == [(None, "provider")] * 3


def test_the_last_admin_stays_one_and_groups_may_lie_deep_in_the_userinfo(
    client: TestClient, provider: Provider, ada: Person, settings: Set
) -> None:
    settings(oidc_roles={"ml": RoleName.labeler, "leads": RoleName.admin}, oidc_role_claim="realm_access.roles")
    provider.more = {"realm_access": {"roles": ["leads"]}}
    come(client)
    assert again(ada).role == Role.admin
    provider.more = {"realm_access": {"roles": ["ml"]}}
    assert come(client).status_code == 303
    assert again(ada).role == Role.admin
    provider.more["sub"] = "someone"
    assert refused(come(client), 502, "sent something that can&#39;t be believed")


def test_paused_people_stay_out(client: TestClient, provider: Provider, ada: Person) -> None:
    with writing() as session:
        session.get_one(Person, ada.id).state = PersonState.paused
    assert refused(come(client), 422, "Your work is paused")
    assert not is_in(client)


@pytest.mark.parametrize(
    "lie",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "someone-else"},
        {"aud": [CLIENT, "someone-else"], "azp": "someone-else"},
        {"iss": "http://127.0.0.1:1"},
        {"exp": int(time.time()) - 3600},
        {"sub": None},
    ],
)
def test_a_token_that_is_not_for_this_sign_in_is_not_believed(
    client: TestClient, provider: Provider, ada: Person, lie: dict[str, Any]
) -> None:
    provider.changed = lie
    assert refused(come(client), 502, "sent something that can&#39;t be believed")
    assert not is_in(client)


def test_a_token_must_be_signed_by_the_providers_own_key(
    client: TestClient, provider: Provider, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.signs_with = RSAKey.generate_key(2048, {"kid": provider.keys[-1].kid})
    assert refused(come(client), 502, "can&#39;t be believed")
    monkeypatch.setattr(Provider, "id_token", lambda *_: "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEtMSJ9.")
    assert refused(come(client), 502, "can&#39;t be believed")


def test_new_keys_are_fetched_when_they_are_met(client: TestClient, provider: Provider, ada: Person) -> None:
    come(client)
    provider.rotate()
    assert come(client).status_code == 303
    assert is_in(client)
    asked = len(provider.asked)
    come(client)
    assert "/keys" not in provider.asked[asked:], "what is known is not asked again"


def test_a_sign_in_is_the_browsers_that_began_it_once(client: TestClient, provider: Provider, ada: Person) -> None:
    back = leave(client)
    note = client.cookies["touchstone_single_sign_on"]
    client.cookies.clear()
    assert refused(client.get(back), 403, "was not begun in this browser")
    back = leave(client)
    assert refused(client.get(back.replace("state=", "state=x")), 403, "was not begun in this browser")
    assert "touchstone_single_sign_on" not in client.cookies
    client.cookies.set("touchstone_single_sign_on", note)
    assert refused(client.get(back), 403, "was not begun in this browser")
    assert not is_in(client)
    client.cookies.clear()
    state = parse_qs(urlsplit(leave(client)).query)["state"][0]
    assert refused(client.get(f"{CALLBACK}?state={state}&code=guessed"), 502, "did not confirm this sign-in")
    state = parse_qs(urlsplit(leave(client)).query)["state"][0]
    said = f"{CALLBACK}?state={state}&error=access_denied&error_description=<b>not+you"
    assert refused(client.get(said), 403, "did not let you in: &lt;b&gt;not you")
    state = parse_qs(urlsplit(leave(client)).query)["state"][0]
    assert refused(client.get(f"{CALLBACK}?state={state}&code=x&iss=https://evil.example"), 403, "of another provider")


def test_without_its_provider_the_page_says_so_and_passwords_still_work(
    client: TestClient, provider: Provider, ada: Person, settings: Set
) -> None:
    provider.is_broken = True
    assert refused(client.get("/sign-in/sso?then=/me"), 502, "Example ID does not answer")
    provider.is_broken = False
    back = leave(client)
    provider.is_broken = True
    assert refused(client.get(back), 502, "Example ID does not answer")
    provider.is_broken = False
    providers._known.clear()
    provider.metadata = {"issuer": "https://another.example"}
    assert refused(client.get("/sign-in/sso"), 502, "does not say what single sign-on needs")
    settings(oidc_issuer="http://127.0.0.1:9")
    assert refused(client.get("/sign-in/sso"), 502, "Example ID does not answer")
    with writing() as session:
        service.set_password(session.get_one(Person, ada.id), "three red boats")
    assert client.post("/sign-in", data={"email": ada.email, "password": "three red boats"}).status_code == 303


def test_without_a_provider_there_is_no_button(client: TestClient) -> None:
    assert "/sign-in/sso" not in client.get("/sign-in").text
    assert client.get("/sign-in/sso").status_code == 404
    assert client.get(CALLBACK).status_code == 403


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/%5Cevil.example"])
def test_nobody_is_led_elsewhere(client: TestClient, provider: Provider, ada: Person, target: str) -> None:
    assert come(client, target).headers["location"] == "/"


def test_passwords_may_be_for_admins_alone(
    client: TestClient, sign_in: SignInAs, provider: Provider, ada: Person, admin: Person, settings: Set
) -> None:
    settings(passwords=Passwords.admins)
    with writing() as session:
        for person in (ada, admin):
            service.set_password(session.get_one(Person, person.id), "three red boats")
        link = service.new_sign_in_link(session, ada)
    wrong = client.post("/sign-in", data={"email": ada.email, "password": "wrong"})
    assert refused(wrong, 422, "The address or the password is wrong")
    right = client.post("/sign-in", data={"email": ada.email, "password": "three red boats"})
    assert refused(right, 403, "Passwords are for admins here")
    typed = {"email": ada.email, "password": "three red boats"}
    assert client.post("/api/v1/sign-in", json=typed).status_code == 403
    assert client.get(link).status_code == client.post(link, data={"password": "four green boats"}).status_code == 403
    assert client.post("/sign-in", data={"email": admin.email, "password": "three red boats"}).status_code == 303
    sign_in(admin)
    invited = client.post("/people", data={"name": "Lin", "email": "lin@example.org", "role": "labeler"})
    assert ("/welcome/" in invited.text, "sign in with Example ID" in invited.text) == (False, True)
    assert client.post(f"/people/{ada.id}/link").status_code == 403


def test_a_second_factor_is_asked_for_unless_the_provider_asks_itself(
    client: TestClient, provider: Provider, ada: Person, settings: Set
) -> None:
    come(client)
    with writing() as session:
        person = session.get_one(Person, ada.id)
        secret = second_factor.begin(session, person).secret.replace(" ", "")
        second_factor.confirm(session, person, pyotp.TOTP(secret).now())
    assert come(client).headers["location"] == "/sign-in/second-step"
    assert not is_in(client)
    settings(oidc_is_second_factor=True)
    assert come(client).headers["location"] == "/me"
    settings(second_factor_of_admins=True)
    with writing() as session:
        session.get_one(Person, ada.id).role = Role.admin
    assert is_in(client), "the provider's second step counts"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"OIDC_ISSUER": "https://id.example.org"}, "needs TOUCHSTONE_OIDC_CLIENT_ID"),
        ({"OIDC_ISSUER": "http://id.example.org", "OIDC_CLIENT_ID": "x"}, "https://"),
        ({"PASSWORDS": "admins"}, "needs TOUCHSTONE_OIDC_ISSUER"),
        ({"OIDC_ROLES": '{"ml": "king"}'}, "'labeler', 'researcher' or 'admin'"),
        ({"OIDC_SCOPES": "email"}, "OIDC_SCOPES"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    installation: Settings, monkeypatch: pytest.MonkeyPatch, values: dict[str, str], said: str
) -> None:
    monkeypatch.setenv("TOUCHSTONE_OIDC_CLIENT_SECRET", "hush-hush")
    for name, value in values.items():
        monkeypatch.setenv(f"TOUCHSTONE_{name}", value)
    forget_settings()
    with pytest.raises(WrongSettings) as wrong:
        get_settings()
    assert (said in wrong.value.message, "hush" in wrong.value.message) == (True, False)
