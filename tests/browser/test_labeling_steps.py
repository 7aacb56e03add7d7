"""The paper's two steps apart: rate one completion at a time, then order them all."""

from playwright.sync_api import Page, expect
from sqlalchemy import delete, select, update

from app.core.db import reading, writing
from app.labeling.models import Assignment, Completion, ItemCompletion, Rating
from app.projects.models import Project
from tests.browser.ranking_desk import Desk, by_text, open_items, seen, stored_ranks, submitted


def in_sight(page: Page) -> list[str]:
    articles = page.locator("article.completion")
    shown: list[str] = articles.evaluate_all("all => all.filter(e => e.checkVisibility()).map(e => e.dataset.letter)")
    return shown


def test_rating_one_by_one_then_ordering_by_keys(desk: Desk, project: Project) -> None:
    open_items(project, items=2, completions=3)
    page = desk()
    texts = seen(page)
    page.keyboard.press("t")
    assert in_sight(page) == ["A"]
    expect(page.locator("#pager-place")).to_have_text("Rate: completion 1 of 3")
    expect(page.locator("#submit")).to_be_hidden()
    for key in ("6", "j", "2", "ArrowDown", "7"):
        page.keyboard.press(key)
    expect(page.locator("#pager-place")).to_have_text("Rate: completion 3 of 3")
    page.keyboard.press("j")
    assert in_sight(page) == ["A", "B", "C"]
    expect(page.locator("article footer").first).to_be_hidden()
    for key in ("2", "j", "3", "j", "1", "Control+Enter"):
        page.keyboard.press(key)
    submitted(page)
    assert stored_ranks() == by_text(texts, C=1, A=2, B=3)
    with reading() as session:
        query = select(Completion.text, Rating.likert).join(Rating, Rating.completion_id == Completion.id)
        ratings = {text: likert["overall"] for text, likert in session.execute(query)}
    assert ratings == by_text(texts, A=6, B=2, C=7)
    page.wait_for_selector("#tiers .tier", state="attached")
    assert in_sight(page) == ["A"], "the next item begins with rating, as this person likes it"
    page.keyboard.press("t")
    assert in_sight(page) == ["A", "B", "C"]


def test_the_pager_has_buttons_and_leads_back(desk: Desk, project: Project) -> None:
    open_items(project, completions=2)
    page = desk()
    page.get_by_label("Rate one by one, then order").check()
    expect(page.get_by_role("button", name="Previous")).to_be_disabled()
    page.get_by_label("A, Overall quality: 3 of 7").click()
    page.get_by_role("button", name="Next").click()
    assert in_sight(page) == ["B"]
    page.get_by_role("button", name="Previous").click()
    assert in_sight(page) == ["A"]
    page.keyboard.press("b")
    page.get_by_role("button", name="Order them").click()
    assert in_sight(page) == ["A", "B"]
    page.keyboard.press("v")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#left-words")).to_have_text("A > B")
    page.get_by_role("button", name="Rate again").click()
    assert in_sight(page) == ["B"]
    page.keyboard.press("5")
    page.keyboard.press("j")
    page.get_by_role("button", name="Submit").click()
    submitted(page)
    with reading() as session:
        assert sorted(each["overall"] for each in session.scalars(select(Rating.likert))) == [3, 5]


def test_whoever_comes_back_is_where_they_left(desk: Desk, project: Project) -> None:
    open_items(project)
    page = desk()
    for key in ("t", "4", "j", "5"):
        page.keyboard.press(key)
    expect(page.locator("#draft-state")).to_have_text("Draft saved")
    page.reload()
    page.wait_for_selector("#tiers .tier", state="attached")
    assert in_sight(page) == ["C"], "the first that is not rated yet"


def test_a_text_that_stands_alone_has_no_second_step(desk: Desk, project: Project) -> None:
    open_items(project)
    page = desk()
    page.keyboard.press("t")
    expect(page.locator("#submit")).to_be_hidden()
    with writing() as session:
        session.execute(delete(ItemCompletion).where(ItemCompletion.position > 0))
        session.execute(update(Assignment).values(shown_order=[str(session.scalars(select(Completion.id)).first())]))
    page.reload()
    expect(page.locator("#submit")).to_be_enabled()
    assert in_sight(page) == ["A"]


def test_one_alone_is_read_whole_and_all_together_fold_again(desk: Desk, project: Project) -> None:
    open_items(project, texts=["Then the dog went on. " * 300] * 3)
    page = desk()
    page.set_viewport_size({"width": 380, "height": 760})
    heights = page.locator("article.completion .text:visible")
    page.keyboard.press("t")
    for _ in "ABC":
        assert heights.evaluate("text => text.clientHeight === text.scrollHeight && text.clientHeight > 400")
        expect(page.locator(".show-all:visible")).to_have_count(0)
        page.keyboard.press("j")
    expect(page.locator(".show-all:visible")).to_have_count(3)
    assert heights.evaluate_all("all => all.map(text => text.clientHeight)") == [340] * 3
