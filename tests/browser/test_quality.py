"""A lead in the browser: finds what stands out, leaves work out, and decides a disagreement by keyboard alone."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from app.accounts.models import Person
from app.core.db import reading, writing
from app.labeling.models import Ranking
from app.projects.models import Project
from app.quality.models import Exclusion
from tests.app.quality.rows import make_batch, make_item, rank
from tests.browser.axe import serious_faults
from tests.browser.looks import LOOKS, Look, take
from tests.factories import make_person

BrowseAs = Callable[[Person], Page]
MONDAY = datetime(2026, 1, 5, 9, tzinfo=UTC)


@pytest.fixture
def hasty(project: Project, labeler: Person) -> Person:
    """One labeler among three who reads nothing."""
    with writing() as session:
        noor, hasty = (make_person(session, project=project) for _ in range(2))
        hasty.name, noor.name = "Bo Fast", "Noor Haddad"
        batch = make_batch(session, project, name="Foxes")
        for number in range(16):
            item = make_item(session, project, batch)
            made = MONDAY + timedelta(days=number)
            for person in (labeler, noor):
                rank(session, item, person, [1, 2, 3], made=made, seconds=120, likert=[{"overall": 5}] * 3)
            rank(session, item, hasty, [3, 2, 1], made=made, seconds=3, order_touched=False)
    return hasty


def test_from_what_stands_out_to_work_left_out(
    browse_as: BrowseAs, researcher: Person, hasty: Person, project: Project
) -> None:
    page = browse_as(researcher)
    page.goto(f"/p/{project.slug}/labeling")
    row = page.get_by_role("region", name="Labelers").get_by_role("row", name="Bo Fast")
    expect(row).to_contain_text("fast")
    row.get_by_role("link", name="untouched order").click()
    expect(page.get_by_role("heading", name="Bo Fast")).to_be_visible()
    expect(page.locator("#facts")).to_contain_text("16 of 16 rankings were handed in with the order")
    box = page.locator("#exclusions")
    box.get_by_label("Why").fill("Hands in the order as shown.")
    box.get_by_role("button", name="Leave out of new snapshots").click()
    expect(box).to_contain_text("16 rankings and 0 demonstrations are left out now.")
    page.goto(f"/p/{project.slug}/labeling")
    expect(page.get_by_label("Agreement", exact=True)).to_contain_text("100.0 %")
    page.get_by_role("link", name="Bo Fast").click()
    page.get_by_role("button", name="Let it count again").click()
    expect(page.locator("#exclusions")).to_contain_text(f"lifted by {researcher.name}")
    with reading() as session:
        assert session.scalars(select(Exclusion.lifted_at)).one() is not None


def test_a_disagreement_decided_by_keyboard(
    browse_as: BrowseAs, researcher: Person, hasty: Person, project: Project
) -> None:
    page = browse_as(researcher)
    page.goto(f"/p/{project.slug}/labeling/disagreements")
    page.get_by_role("link", name="Decide:").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="What the labelers said")).to_be_visible()
    page.wait_for_load_state()  # keys are listened to from then on
    for letter, rank_of in (("A", 2), ("B", 1), ("C", 1)):
        page.get_by_label(f"{letter} at rank {rank_of}").focus()
        page.keyboard.press("Space")
    page.get_by_label("Why you decide so").focus()
    page.keyboard.type("A repeats itself.")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("status")).to_contain_text("Decided: B = C > A")
    with reading() as session:
        (decision,) = session.scalars(select(Ranking).where(Ranking.is_adjudication)).all()
    assert (decision.note, decision.person_id) == ("A repeats itself.", researcher.id)


def test_figures_that_do_not_come_say_so_and_come_when_asked_again(
    browse_as: BrowseAs, researcher: Person, hasty: Person, project: Project
) -> None:
    page = browse_as(researcher)
    page.route("**/labeling?figures=true", lambda route: route.abort("internetdisconnected"))
    page.goto(f"/p/{project.slug}/labeling")
    expect(page.get_by_role("region", name="Batches").get_by_role("row", name="Foxes")).to_contain_text("16 of 16")
    expect(page.get_by_role("alert")).to_contain_text("that did not come")
    assert serious_faults(page) == []
    page.unroute("**/labeling?figures=true")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("region", name="Labelers").get_by_role("row", name="Bo Fast")).to_be_visible()
    expect(page.get_by_role("region", name="By batch").get_by_role("row", name="Foxes")).to_contain_text("3")


def test_who_was_signed_out_meanwhile_is_told_so_and_sees_no_sign_in_page_within_the_page(
    browse_as: BrowseAs, researcher: Person, hasty: Person, project: Project
) -> None:
    page = browse_as(researcher)
    page.route("**/labeling?figures=true", lambda route: route.abort("internetdisconnected"))
    page.goto(f"/p/{project.slug}/labeling")
    expect(page.get_by_role("alert")).to_be_visible()
    page.unroute("**/labeling?figures=true")
    page.context.clear_cookies()
    with page.expect_response("**/sign-in**"):
        page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("alert")).to_contain_text("that did not come")
    expect(page.get_by_label("Password")).to_have_count(0)


@pytest.mark.parametrize("look", LOOKS)
def test_the_pages_are_accessible_and_no_wider_than_the_screen(
    browse_as: BrowseAs, researcher: Person, hasty: Person, project: Project, look: Look
) -> None:
    page = browse_as(researcher)
    take(page, look)
    with reading() as session:
        item = session.scalars(select(Ranking.item_id)).first()
    start = f"/p/{project.slug}/labeling"
    for address in ("", f"/labelers/{hasty.id}", "/disagreements", f"/disagreements/{item}"):
        page.goto(start + address)
        expect(page.locator("h1")).to_have_count(1)
        expect(page.locator(".later")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") <= look[1]
        assert serious_faults(page) == []
