"""Sorting prompts without a use case by keyboard alone, on a wide and a narrow page."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from app.accounts.models import Person
from app.core.db import reading, writing
from app.projects.models import Project
from app.prompts.models import Prompt, UseCase
from tests.browser.axe import serious_faults
from tests.factories import make_prompt

BrowseAs = Callable[[Person], Page]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 380)])
def test_prompts_are_sorted_by_single_keys(
    browse_as: BrowseAs, labeler: Person, project: Project, scheme: str, width: int
) -> None:
    with writing() as session:
        prompts = [
            make_prompt(
                session, project, text=f"Summarize **this** {name}:\n\n> Foxes live in holes.", use_case=UseCase.other
            )
            for name in ("letter", "report")
        ]
        prompts[0].flags = ["violent"]
    page = browse_as(labeler)
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"/p/{project.slug}/prompts/sort")
    expect(page.get_by_text("2 to sort")).to_be_visible()
    assert serious_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.keyboard.press("6")
    expect(page.get_by_role("status")).to_contain_text("You said Summarization.")
    page.wait_for_load_state()  # keys are listened to from then on
    page.keyboard.press("0")
    expect(page.get_by_text("There is nothing to sort for you")).to_be_visible()
    page.get_by_role("link", name="Correct it").press("Enter")
    expect(page.get_by_role("heading", name="What is this prompt for?")).to_be_visible()
    page.wait_for_load_state()
    page.keyboard.press("6")
    expect(page.get_by_role("status")).to_contain_text("You said Summarization.")
    with reading() as session:
        assert {session.get_one(Prompt, each.id).use_case for each in prompts} == {UseCase.summarization}


def test_a_marked_prompt_is_covered_until_it_is_asked_for(
    browse_as: BrowseAs, labeler: Person, project: Project
) -> None:
    with writing() as session:
        make_prompt(session, project, text="A fight.", use_case=UseCase.other).flags = ["violent"]
    page = browse_as(labeler)
    page.goto(f"/p/{project.slug}/prompts/sort")
    covered = page.locator(".prompt .text")
    expect(covered).to_have_css("visibility", "hidden")
    page.get_by_text("Show it").click()
    expect(covered).to_have_css("visibility", "visible")
