"""The explorer in the browser: a search that goes on by itself, kept in its address, and a story by keyboard."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from app.accounts.models import Person
from app.core.db import writing
from app.explorer import prompts
from app.labeling.models import Item
from app.projects.models import Project
from tests.app.datasets.labels import make_ranking
from tests.browser.axe import serious_faults
from tests.factories import make_person, make_prompt

BrowseAs = Callable[[Person], Page]


@pytest.fixture
def labels(project: Project, labeler: Person) -> None:
    with writing() as session:
        whale = make_prompt(session, project, text="Write about a whale that is afraid of water.")
        for person, ranks in ((labeler, [1, 2, 3, 3]), (make_person(session, project=project), [3, 2, 1, 1])):
            make_ranking(session, project, person, ranks, prompt=whale)
        for item in session.scalars(select(Item)):
            item.got = 1
        for number in range(70):
            make_prompt(session, project, text=f"Write about subject number {number}.")


@pytest.mark.usefixtures("labels")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 380)])
def test_a_rare_prompt_is_found_and_its_story_read(
    browse_as: BrowseAs, researcher: Person, project: Project, monkeypatch: pytest.MonkeyPatch, scheme: str, width: int
) -> None:
    monkeypatch.setattr(prompts, "WINDOW", 20)  # the whale is three parts back
    page = browse_as(researcher)
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"/p/{project.slug}/explore")
    expect(page.get_by_role("link", name="Show more")).to_be_visible()  # a full page waits to be asked
    page.get_by_role("link", name="Show more").press("Enter")
    expect(page.get_by_role("link", name="whale")).to_be_visible()
    page.get_by_label("Words in the prompt").fill("whale")
    page.get_by_role("button", name="Show").press("Enter")
    assert "q=whale" in page.url
    expect(page.get_by_role("status")).to_have_count(0)  # it has looked to the end by itself
    assert page.locator("tbody tr").count() == 1
    assert serious_faults(page) == []
    page.get_by_role("link", name="whale").press("Enter")
    judgments = page.get_by_role("region", name="Judgments")
    expect(judgments).to_contain_text("A > B > C = D")
    expect(page.get_by_role("region", name="Completions")).to_contain_text("mean rank")
    assert serious_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.usefixtures("labels")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 380)])
def test_every_tab_can_be_read(
    browse_as: BrowseAs, researcher: Person, project: Project, scheme: str, width: int
) -> None:
    page = browse_as(researcher)
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"/p/{project.slug}/explore")
    for tab in ("Completions", "Judgments", "Distributions"):
        page.get_by_role("navigation", name="What to explore").get_by_role("link", name=tab).press("Enter")
        if tab == "Distributions":
            expect(page.get_by_role("region", name="Order")).to_contain_text("with ties")
        expect(page.get_by_text("Looking further back")).to_have_count(0)  # it has looked to the end by itself
        assert serious_faults(page) == [], tab
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab


@pytest.mark.usefixtures("labels")
def test_a_search_under_way_says_so_and_can_be_read(
    browse_as: BrowseAs, researcher: Person, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompts, "WINDOW", 20)
    page = browse_as(researcher)
    page.route("**/*after=*", lambda _: None)  # the next part never comes
    page.goto(f"/p/{project.slug}/explore?q=whale")
    expect(page.get_by_text("Looking further back")).to_be_visible()
    assert serious_faults(page) == []
