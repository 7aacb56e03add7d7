"""Signing in, in a real browser."""

from collections.abc import Callable

import pyotp
import pytest
from playwright.sync_api import Page, expect
from pydantic import SecretStr

from app.accounts import service
from app.accounts.models import Person, Role
from app.core.config import get_settings
from app.core.db import writing
from tests.app.accounts.oidc_provider import CLIENT, SECRET, serving
from tests.browser.axe import serious_faults


def test_first_admin_chooses_a_password_and_comes_back(page: Page) -> None:
    with writing() as session:
        ada = service.add_person(session, "ada@example.org", name="Ada", role=Role.admin)
        link = service.new_sign_in_link(session, ada)
    page.goto(link)
    page.get_by_label("Password").fill("three red boats")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Projects")).to_be_visible()
    page.get_by_text("Ada", exact=True).click()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("E-mail").fill("ada@example.org")
    page.get_by_label("Password").fill("wrong password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    expect(page.get_by_label("E-mail")).to_have_value("ada@example.org")
    page.get_by_label("Password").fill("three red boats")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Projects")).to_be_visible()


def test_a_second_factor_is_set_up_and_asked_for_by_keyboard_alone(
    page: Page, browse_as: Callable[[Person], Page], labeler: Person
) -> None:
    with writing() as session:
        service.set_password(session.get_one(Person, labeler.id), "three red boats")
    browse_as(labeler).goto("/me/second-factor")
    assert serious_faults(page) == []
    device = pyotp.TOTP(page.locator(".copyable").inner_text().replace(" ", ""))
    page.keyboard.type(device.now())
    page.keyboard.press("Enter")
    expect(page.locator("pre")).to_contain_text("-")
    recovery_code = page.locator("pre").inner_text().split()[0]
    page.goto("/me/sign-ins")
    expect(page.get_by_text("second step")).to_be_visible()
    assert serious_faults(page) == []
    page.get_by_role("button", name="Sign out An unknown program").press("Enter")
    page.get_by_label("E-mail").fill(labeler.email)
    page.get_by_label("Password").fill("three red boats")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Second step")).to_be_visible()
    assert serious_faults(page) == []
    page.keyboard.type("abcd")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("recovery code is wrong")
    page.keyboard.type(recovery_code)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Where you are signed in")).to_be_visible()


def test_single_sign_on_leads_there_and_back(
    page: Page, live_server: str, labeler: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as provider:
        wanted = {"oidc_issuer": provider.issuer, "oidc_client_id": CLIENT, "oidc_client_secret": SecretStr(SECRET)}
        for name, value in {**wanted, "public_url": live_server}.items():
            monkeypatch.setattr(get_settings(), name, value)
        provider.claims = {"sub": "1", "email": labeler.email, "email_verified": True}
        page.goto("/me/sign-ins")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        assert serious_faults(page) == []
        page.get_by_role("link", name="Sign in with single sign-on").click()
        expect(page.get_by_text("Chrome on Linux")).to_be_visible()
