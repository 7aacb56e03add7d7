"""A researcher's datasets in the browser: frozen by keyboard, read with their datasheet, on wide and small screens."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from app.accounts.models import Person
from app.core.db import writing
from app.projects.models import Project
from tests.app.datasets.labels import make_ranking
from tests.browser.axe import serious_faults
from tests.factories import make_person

BrowseAs = Callable[[Person], Page]


@pytest.fixture
def labels(project: Project, labeler: Person) -> None:
    with writing() as session:
        for person in (labeler, make_person(session, project=project, is_simulated=True)):
            for _ in range(3):
                make_ranking(session, project, person, [1, 2, 3, 3])


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 380)])
def test_a_dataset_is_frozen_and_read(
    browse_as: BrowseAs, researcher: Person, project: Project, labels: None, scheme: str, width: int
) -> None:
    page = browse_as(researcher)
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"/p/{project.slug}/datasets")
    page.get_by_text("Only some of the labels").press("Enter")
    page.get_by_label("Guidelines, versions").fill("1")
    assert serious_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("button", name="Freeze").press("Enter")
    sheet = page.get_by_role("region", name="Datasheet")
    expect(sheet).to_contain_text("Simulated: 1 labeler, 3 of 6 rows (50.0 %)")
    expect(sheet.get_by_role("heading", name="What it can't tell")).to_be_visible()
    assert serious_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    with page.expect_download() as download:
        page.get_by_role("link", name="csv").first.press("Enter")
    assert download.value.suggested_filename.endswith(".preference.csv")
    with writing() as session:
        make_ranking(session, project, make_person(session, project=project), [2, 1])
    page.goto(f"/p/{project.slug}/datasets")
    page.get_by_role("button", name="Freeze").press("Enter")
    page.route("**/diff?*figures=true", lambda route: route.abort("internetdisconnected"))
    page.get_by_role("button", name="Compare").press("Enter")
    expect(page.get_by_role("region", name="Snapshots")).to_contain_text("7 rows")
    expect(page.get_by_role("alert")).to_contain_text("that did not come")
    assert serious_faults(page) == []
    page.unroute("**/diff?*figures=true")
    page.get_by_role("button", name="Try again").press("Enter")
    expect(page.get_by_role("region", name="Counts")).to_contain_text("Added1")
    expect(page.get_by_role("region", name="Added")).to_contain_text("Write a story")
    assert serious_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
