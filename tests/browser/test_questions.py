"""Help texts, flags for some use cases and notes that are not asked for: written by keyboard, met at the bench."""

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from app.accounts.models import Person
from app.core.db import reading, writing
from app.labeling.models import Ranking, Rating
from app.projects import service as projects
from app.projects.models import Project
from app.prompts.models import UseCase
from tests.app.labeling.rows import make_ranking_batch, publish_closed
from tests.browser.axe import serious_faults
from tests.browser.looks import LOOKS, Look, take
from tests.browser.ranking_desk import BrowseAs, Desk, submitted

SAID = "Look for each fact in the prompt."


def is_whole(page: Page, state: str) -> None:
    assert serious_faults(page) == [], state
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{state}: wider than the window"


@pytest.mark.parametrize("look", LOOKS)
def test_an_admin_writes_what_is_asked_by_keyboard(
    browse_as: BrowseAs, admin: Person, project: Project, look: Look
) -> None:
    page = browse_as(admin)
    take(page, look)
    page.goto(f"/p/{project.slug}/rating-schemas/new")
    flag = page.get_by_role("group", name="Flag 2")
    flag.get_by_text("Help text and use cases").focus()
    page.keyboard.press("Enter")
    flag.get_by_label("Help text").focus()
    page.keyboard.type(SAID)
    page.keyboard.press("Tab")  # generation
    for _ in range(7):
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(flag.get_by_role("checkbox", name="closed qa")).to_be_checked()
    preview = page.locator("#preview")
    expect(preview.locator("ins").first).to_contain_text("only for closed qa")
    expect(preview.locator(".flags-seen .help-seen")).to_have_text(SAID)
    page.get_by_label("A note on each completion").focus()
    page.keyboard.press("Space")
    expect(preview).to_contain_text("Notes may be written on the whole, and none on a completion.")
    is_whole(page, "written")
    page.get_by_role("button", name="Move Hallucination up").press("Enter")
    expect(page.get_by_role("group", name="Flag 1").get_by_label("Help text")).to_have_value(SAID)
    expect(page.get_by_role("group", name="Flag 1").get_by_role("checkbox", name="closed qa")).to_be_checked()
    expect(page.get_by_label("A note on each completion")).not_to_be_checked()
    page.get_by_role("button", name="Publish").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Rating schema 2")
    is_whole(page, "published")
    with reading() as session:
        newest = projects.newest_rating_schema(session, project)
    assert newest is not None
    assert newest.fields["flags"][0] == {
        "key": "hallucination",
        "label": "Hallucination",
        "help": SAID,
        "use_cases": ["closed_qa"],
    }
    assert newest.fields["notes"] == ["ranking"]


@pytest.mark.parametrize("look", LOOKS)
def test_a_labeler_reads_the_help_at_hand_and_by_ear(desk: Desk, project: Project, look: Look) -> None:
    with writing() as session:
        publish_closed(session, project)
        make_ranking_batch(session, project, use_case=UseCase.closed_qa)
    page = desk()
    take(page, look)
    chip = page.get_by_role("checkbox", name="A: States what the text does not say")
    expect(chip).to_have_accessible_description(SAID)
    expect(page.get_by_role("radiogroup", name="Overall quality").first).to_have_accessible_description(
        "Would you send it as it is?"
    )
    card = page.locator("#completion-A")
    expect(card.get_by_text(SAID)).not_to_be_visible()
    chip.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(card.get_by_text(SAID)).to_be_visible()
    is_whole(page, "help open")
    page.keyboard.press("t")
    expect(card.get_by_text(SAID)).to_be_visible()
    is_whole(page, "one by one")


@pytest.mark.parametrize("look", LOOKS)
def test_a_bench_without_notes_works_in_every_way(desk: Desk, project: Project, look: Look) -> None:
    """The board reads, writes, undoes and hands in what stands there, and asks for nothing more."""
    with writing() as session:
        publish_closed(session, project, notes=[])
        make_ranking_batch(session, project, use_case=UseCase.chat, completions=2)
    page = desk()
    take(page, look)
    expect(page.get_by_text("Note on")).to_have_count(0)
    expect(page.get_by_role("checkbox", name="A: States what the text does not say")).to_have_count(0)
    for key in ("a", "1", "b", "1"):
        page.keyboard.press(key)
    page.get_by_label("A: Fails the task").check(force=True)
    page.locator("#undo").click()
    expect(page.get_by_label("A: Fails the task")).not_to_be_checked()
    page.get_by_label("A: Fails the task").check(force=True)
    expect(page.locator("#draft-state")).to_contain_text("saved")
    page.reload()
    expect(page.get_by_label("A: Fails the task")).to_be_checked()
    is_whole(page, "without notes")
    page.locator("#compare-open").click()
    is_whole(page, "comparing")
    page.locator("#better-left").click()
    page.keyboard.press("Control+Enter")
    submitted(page)
    with reading() as session:
        assert session.scalars(select(Rating.flags)).all() == [["fails_task"]]
        assert session.scalars(select(Ranking.comparisons)).one() == 1
