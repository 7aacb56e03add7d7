"""An admin brings labels from elsewhere in: shown first, then taken; the pages are accessible and fit the screen."""

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from app.accounts.models import Person
from app.projects.models import Project
from tests.app.datasets.existing.test_taking import RANKED, WRITTEN
from tests.browser.axe import serious_faults

BrowseAs = Callable[[Person], Page]
ROWS = "\n".join(json.dumps(row) for row in (RANKED, WRITTEN, {"odd": 1}))


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 380)])
def test_labels_from_elsewhere_by_keyboard(
    browse_as: BrowseAs, admin: Person, project: Project, scheme: str, width: int
) -> None:
    page = browse_as(admin)
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"/p/{project.slug}/datasets")
    page.get_by_role("link", name="Import labels").press("Enter")
    assert serious_faults(page) == []
    page.get_by_label("Or rows, pasted").fill(ROWS)
    page.get_by_role("button", name="Preview").press("Enter")
    preview = page.get_by_role("region", name="Preview")
    expect(preview).to_contain_text("2 rankings")
    expect(page.get_by_role("region", name="Refused")).to_contain_text("is of no known shape")
    expect(page.get_by_role("region", name="First rows")).to_contain_text("B > A")
    assert serious_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("button", name="Import them").press("Enter")
    expect(page.get_by_role("status")).to_have_text("2 rankings and 1 demonstration were imported.")
