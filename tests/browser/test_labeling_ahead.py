"""The next item is there before it is needed."""

from collections.abc import Callable

from playwright.sync_api import Page, expect
from sqlalchemy import select

from app.accounts.models import Person
from app.core.db import reading, writing
from app.labeling.models import Assignment, AssignmentState, Ranking
from app.projects.models import Project
from tests.app.labeling.rows import make_ranking_batch

BrowseAs = Callable[[Person], Page]


def rank_all(page: Page) -> None:
    for key in ("a", "1", "b", "2", "c", "3", "d", "3"):
        page.keyboard.press(key)


def test_the_next_page_is_fetched_while_one_works(browse_as: BrowseAs, labeler: Person, project: Project) -> None:
    with writing() as session:
        make_ranking_batch(session, project, items=2)
    page = browse_as(labeler)
    page.goto(f"/p/{project.slug}/desk")
    with page.expect_response(lambda answer: answer.url.endswith("/desk/ahead")):
        rank_all(page)
    page.wait_for_function("document.getElementById('bench-form').dataset.ready")
    with reading() as session:
        held = session.scalars(select(Assignment.state)).all()
    assert held == [AssignmentState.leased, AssignmentState.leased]
    page.wait_for_function("document.querySelector('script[type=speculationrules]')")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".receipt")).to_contain_text("You submitted A > B > C = D.")
    assert "/assignments/" in page.url
    assert page.evaluate("performance.getEntriesByType('navigation')[0].deliveryType") == "navigational-prefetch"

    # The last one: nothing waits behind it, and the desk says so with the receipt.
    rank_all(page)
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="All done")).to_be_visible()
    page.get_by_role("link", name="What you made").last.click()
    expect(page.get_by_role("row")).to_have_count(3)
    with reading() as session:
        assert len(session.scalars(select(Ranking)).all()) == 2
