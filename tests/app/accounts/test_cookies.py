"""The session's cookie, and what else goes only over TLS."""

import pyotp
import pytest
from fastapi.testclient import TestClient

from app.accounts import second_factor, service
from app.accounts.models import Person
from app.core.config import get_settings
from app.core.db import writing
from app.main import create_app

PASSWORD = "three red boats"


@pytest.mark.parametrize("setting", ["secure_cookies", "public_url"])
def test_over_tls_the_cookie_is_bound_to_this_host(
    app_client: TestClient, admin: Person, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"secure_cookies": True, "public_url": "https://labels.example.org"}
    monkeypatch.setattr(get_settings(), setting, values[setting])
    with writing() as session:
        service.set_password(session.get_one(Person, admin.id), PASSWORD)
    with TestClient(create_app(), base_url="https://testserver", follow_redirects=False) as client:
        answer = client.post("/sign-in", data={"email": admin.email, "password": PASSWORD})
        cookie, *flags = answer.headers["set-cookie"].split("; ")
        assert cookie.startswith("__Host-touchstone_session=")
        assert {"HttpOnly", "Path=/", "SameSite=lax", "Secure"} <= set(flags)
        assert not [flag for flag in flags if flag.startswith("Domain")]
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert client.get("/me").status_code == 200
        out = client.post("/sign-out").headers["set-cookie"]
        assert (out.startswith('__Host-touchstone_session="";'), "Secure" in out) == (True, True)
        client.cookies.clear()
        client.cookies.set("touchstone_session", cookie.partition("=")[2])
        assert client.get("/me").status_code == 303  # another host of the domain could have set that one


def test_over_tls_the_short_ones_are_too(
    app_client: TestClient, admin: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "secure_cookies", True)
    monkeypatch.setattr(get_settings(), "second_factor_of_admins", True)
    with writing() as session:
        service.set_password(session.get_one(Person, admin.id), PASSWORD)
    with TestClient(create_app(), base_url="https://testserver", follow_redirects=False) as client:
        answer = client.post("/sign-in", data={"email": admin.email, "password": PASSWORD})
        cookie, *flags = answer.headers["set-cookie"].split("; ")
        assert cookie.startswith("__Host-touchstone_half_way=")
        assert {"HttpOnly", "Path=/", "SameSite=lax", "Secure"} <= set(flags)
        assert client.get("/sign-in/second-step").status_code == 200
        with writing() as session:
            secret = second_factor.begin(session, admin).secret.replace(" ", "")
        code = pyotp.TOTP(secret).now()
        out = client.post("/sign-in/second-step", data={"code": code}).headers.get_list("set-cookie")
        assert any(each.startswith('__Host-touchstone_half_way="";') and "Secure" in each for each in out)
        client.cookies.clear()
        client.cookies.set("touchstone_half_way", cookie.partition("=")[2])
        assert client.get("/sign-in/second-step").status_code == 303  # as planted by another host


def test_without_tls_nothing_claims_it(client: TestClient) -> None:
    assert "strict-transport-security" not in client.get("/sign-in").headers
