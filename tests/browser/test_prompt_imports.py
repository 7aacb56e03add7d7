"""An admin brings prompts in: looked at first, followed, reported; what was held is taken back. All by keyboard."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from app.accounts.models import Person
from app.core.db import reading
from app.projects.models import Project
from app.prompts.models import PromptImport
from tests.app.prompts.intake.at_work import jsonl, take, work
from tests.browser.axe import serious_faults

BrowseAs = Callable[[Person], Page]
GOOD = [{"q": f"Write a story about {number} foxes.", "team": "Mill"} for number in range(4)]
ROWS = jsonl(*GOOD, {"q": ""}).decode() + "{oops"


def fits(page: Page, width: int) -> None:
    assert serious_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 380)])
def test_prompts_come_in_by_keyboard(
    browse_as: BrowseAs, admin: Person, project: Project, scheme: str, width: int
) -> None:
    page = browse_as(admin)
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"/p/{project.slug}/prompts/import")
    expect(page.get_by_text("Nothing has been imported yet.")).to_be_visible()
    fits(page, width)
    page.get_by_label("Or prompts").fill(ROWS)
    page.get_by_role("button", name="Preview").press("Enter")
    expect(page.get_by_text("None of the first rows would be taken.")).to_be_visible()
    fits(page, width)
    page.get_by_role("combobox", name="Prompt or instruction").select_option("q")
    page.get_by_role("combobox", name="Organisation", exact=True).select_option("team")
    page.get_by_role("button", name="Show the first rows so").press("Enter")
    expect(page.get_by_role("region", name="Preview")).to_contain_text("4 would be taken")
    page.get_by_label("At most of one source").fill("3")
    page.get_by_label("Long common prefix").fill("")
    fits(page, width)
    page.get_by_role("button", name="Start the import").press("Enter")
    expect(page.get_by_text("Waits for a worker")).to_be_visible()
    fits(page, width)
    with reading() as session:
        work(session.scalars(select(PromptImport.id)).one())
    expect(page.get_by_role("status")).to_contain_text("3 prompts are in use")  # without a reload
    expect(page.get_by_text("is not JSON")).to_be_visible()
    fits(page, width)
    page.get_by_role("link", name="Look at them").press("Enter")
    expect(page.get_by_text("more than 3 of its organisation")).to_be_visible()
    fits(page, width)
    page.get_by_role("link", name="Back to the import").press("Enter")
    page.get_by_role("button", name="Take all back").press("Enter")
    expect(page.get_by_role("status")).to_contain_text("4 prompts are in use")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 380)])
def test_held_prompts_are_decided_about_by_single_keys(
    browse_as: BrowseAs, admin: Person, project: Project, scheme: str, width: int
) -> None:
    rows = [{"prompt": f"Mail {name}@example.org {number} times."} for number, name in enumerate(("ann", "ben", "cy"))]
    row = take(project, admin, jsonl(*rows), personal_data="review")
    page = browse_as(admin)
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"/p/{project.slug}/prompts/imports/{row.id}/review/personal_data")
    for name, key in (("ann", "n"), ("ben", "m"), ("cy", "u")):
        expect(page.locator("mark")).to_have_text(f"{name}@example.org")
        fits(page, width)
        page.wait_for_load_state()  # keys are listened to from then on
        page.keyboard.press(key)
    expect(page.get_by_text("That was the last one.")).to_be_visible()
    fits(page, width)
    page.get_by_role("link", name="Begin with those that you left").press("Enter")
    expect(page.locator("mark")).to_have_text("ann@example.org")
    page.wait_for_load_state()
    page.keyboard.press("r")
    expect(page.get_by_text("Nothing is left to be decided about.")).to_be_visible()
