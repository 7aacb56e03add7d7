"""Nobody meets disturbing content unprepared, and nobody works on and on."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from app.accounts.models import Person
from app.accounts.preferences import Content, preferences_of
from app.core.db import reading, writing
from app.labeling.models import Report
from app.projects.models import Project
from app.prompts.models import Prompt
from tests.app.labeling.rows import make_ranking_batch

BrowseAs = Callable[[Person], Page]


@pytest.fixture
def page_of_labeler(browse_as: BrowseAs, labeler: Person, project: Project) -> Page:
    with writing() as session:
        make_ranking_batch(session, project)
        session.scalars(select(Prompt)).one().flags = [Content.violent.value, Content.self_harm.value]
    return browse_as(labeler)


def test_marked_content_is_covered_until_it_is_asked_for(page_of_labeler: Page, project: Project) -> None:
    page = page_of_labeler
    page.goto(f"/p/{project.slug}/desk")
    expect(page.get_by_text("Violent, self-harm content")).to_be_visible()
    texts = page.locator(".prompt .turns > *, .completion .text")
    for text in texts.all():
        expect(text).not_to_be_visible()
    page.get_by_label("Show it").focus()
    page.keyboard.press("Space")
    for text in texts.all():
        expect(text).to_be_visible()


def test_what_one_does_not_want_to_see_is_said_on_a_page(page_of_labeler: Page, labeler: Person) -> None:
    page = page_of_labeler
    page.goto("/me/preferences")
    page.get_by_label("Violence").check()
    page.get_by_role("button", name="Store").click()
    expect(page.get_by_text("It holds from the next item on")).to_be_visible()
    expect(page.get_by_label("Violence")).to_be_checked()
    with reading() as session:
        assert preferences_of(session.get_one(Person, labeler.id)).avoided == {Content.violent}


def test_a_break_is_suggested_after_long_work_and_again_later(
    page_of_labeler: Page, project: Project, labeler: Person
) -> None:
    page = page_of_labeler
    page.clock.install()
    page.goto(f"/p/{project.slug}/desk")
    notice = page.locator("#take-a-break")

    def work(minutes: int) -> None:
        for _ in range(minutes):
            page.keyboard.press("j")
            page.clock.run_for(59_000)
            page.keyboard.press("k")
            page.clock.run_for(1_000)

    work(49)
    expect(notice).not_to_be_visible()
    work(2)
    expect(notice).to_contain_text("You have worked for 50 minutes")
    notice.get_by_role("button").click()
    work(5)
    expect(notice).not_to_be_visible()
    page.clock.run_for(6 * 60_000)  # a break
    work(20)
    expect(notice).not_to_be_visible()


def test_the_stop_cord_is_pulled_from_the_page(page_of_labeler: Page, project: Project) -> None:
    page = page_of_labeler
    page.goto(f"/p/{project.slug}/desk")
    page.get_by_role("button", name="Report", exact=True).click()
    dialog = page.get_by_role("dialog", name="Report a problem")
    dialog.get_by_text("The whole batch").click()
    dialog.get_by_label("What is wrong").last.select_option("Text is broken or cut off")
    dialog.get_by_role("button", name="Report it").click()
    expect(page.get_by_text("The batch is stopped for everyone")).to_be_visible()
    with reading() as session:
        assert session.scalars(select(Report.reason)).all() == ["Text is broken or cut off"]
