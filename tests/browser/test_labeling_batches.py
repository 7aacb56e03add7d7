"""An admin opens a batch in the browser, and a labeler finds it on the desk."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from app.accounts.models import Person
from app.core.db import writing
from app.projects.models import Project
from tests.factories import make_prompt

BrowseAs = Callable[[Person], Page]


def test_a_batch_from_opening_to_done(browse_as: BrowseAs, admin: Person, labeler: Person, project: Project) -> None:
    with writing() as session:
        make_prompt(session, project, text="Write a story about a fox.")
    page = browse_as(admin)
    page.goto(f"/p/{project.slug}/labeling")
    page.get_by_role("link", name="Open the first batch").click()
    page.get_by_label("Name").first.fill("Foxes")
    page.get_by_role("button", name="Ask for demonstrations").click()
    expect(page.get_by_role("heading", name="Foxes")).to_be_visible()
    expect(page.locator("main")).to_contain_text("cannot be told yet")
    page.get_by_role("link", name="All batches").click()
    row = page.get_by_role("row", name="Foxes")
    expect(row).to_contain_text("0 of 1")
    row.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("row", name="Foxes")).to_contain_text("paused")
    browse_as(labeler).goto(f"/p/{project.slug}/desk")
    expect(page.locator("main")).to_contain_text("1 batch is paused")
    browse_as(admin).goto(f"/p/{project.slug}/labeling")
    page.get_by_role("button", name="Resume").click()
    browse_as(labeler).goto(f"/p/{project.slug}/desk")
    expect(page.locator(".prompt")).to_contain_text("Write a story about a fox.")
    page.keyboard.type("A fox ran.")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="All done")).to_be_visible()
    browse_as(admin).goto(f"/p/{project.slug}/labeling")
    row = page.get_by_role("region", name="Batches").get_by_role("row", name="Foxes")
    expect(row).to_contain_text("1 of 1")
    expect(row).to_contain_text("done")
