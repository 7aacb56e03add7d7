"""Signing in, in a real browser."""

from playwright.sync_api import Page, expect

from app.accounts import service
from app.accounts.models import Role
from app.core.db import writing


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
