"""axe finds nothing serious on the labeling pages, light and dark, wide and narrow; motion is reduced when asked."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import update

from app.accounts.models import Person
from app.core.db import writing
from app.projects.models import Project
from app.prompts.models import Prompt
from tests.app.labeling.rows import make_demonstration_batch
from tests.browser.axe import serious_faults
from tests.browser.looks import LOOKS, take
from tests.browser.ranking_desk import BrowseAs, Desk, open_items, submitted

LONG = "# Plan\n\nThe **dog** went on, see [this](https://example.org).\n\n```\ncode\n```\n\n" + "And on. " * 200
TEXTS = [LONG, "Short \u202eone\u202c.", "|a|b|\n|-|-|\n|1|2|", "> quoted\n\n- one\n- two"]


@pytest.fixture(params=LOOKS)
def looks(page: Page, request: pytest.FixtureRequest) -> None:
    """The page in this colour scheme and width."""
    take(page, request.param)


def check(page: Page, state: str) -> None:
    assert serious_faults(page) == [], state
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{state}: wider than the window"


def in_popover(page: Page, name: str, press: str) -> None:
    page.keyboard.press(press)
    expect(page.get_by_role("dialog", name=name)).to_be_visible()
    check(page, name)
    page.keyboard.press("Escape")


@pytest.mark.usefixtures("looks")
def test_the_ranking_bench_in_each_of_its_states(desk: Desk, project: Project) -> None:
    open_items(project, texts=TEXTS, prompt="Write a plan for a long day. " * 100)
    page = desk()
    check(page, "as it opens")
    for key in ("a", "1", "Shift+Digit6", "b", "1", "c", "3"):
        page.keyboard.press(key)
    page.get_by_label("D: Hallucination").check(force=True)
    page.get_by_text("Note on A").click()
    check(page, "half done")
    for state, key in (("raw", "r"), ("open", "o"), ("comparing", "v"), ("back", "v"), ("steps apart", "t")):
        page.keyboard.press("Escape")
        page.keyboard.press(key)
        check(page, state)
    page.keyboard.press("t")
    for name, key in (("Guidelines", "g"), ("Keys", "?"), ("Skip this item", "s")):
        in_popover(page, name, key)


@pytest.mark.usefixtures("looks")
def test_what_comes_after_submitting(desk: Desk, project: Project) -> None:
    open_items(project)
    page = desk()
    for key in ("a", "1", "b", "2", "c", "3", "d", "3", "Control+Enter"):
        page.keyboard.press(key)
    submitted(page)
    check(page, "an empty desk with a receipt")
    page.get_by_role("link", name="See it as it is stored").click()
    page.wait_for_url("**/assignments/*")
    check(page, "as it is stored")
    page.get_by_role("link", name="Next item").click()
    page.go_back()
    page.goto(f"{page.url}/amend")
    check(page, "correcting")


@pytest.mark.usefixtures("looks")
def test_the_labelers_own_pages(browse_as: BrowseAs, labeler: Person, project: Project) -> None:
    page = browse_as(labeler)
    for address in ("desk", "history", "own", "prompts/write", "guidelines", "self-assessment"):
        page.goto(f"/p/{project.slug}/{address}")
        expect(page.locator("h1")).to_have_count(1)
        check(page, address)
    for address in ("/me", "/me/preferences", "/projects"):
        page.goto(address)
        check(page, address)


@pytest.mark.usefixtures("looks")
def test_guidelines_to_accept_and_covered_content(desk: Desk, project: Project) -> None:
    open_items(project)
    with writing() as session:
        session.get_one(Project, project.id).settings = {"must_accept_guidelines": True}
        session.execute(update(Prompt).values(flags=["violent", "self_harm"]))
    page = desk(waits_for="#main form")
    check(page, "guidelines to accept")
    page.get_by_role("button", name="I have read them").click()
    page.wait_for_selector("#tiers .tier")
    check(page, "covered")


@pytest.mark.usefixtures("looks")
def test_the_writing_bench(browse_as: BrowseAs, labeler: Person, project: Project) -> None:
    with writing() as session:
        make_demonstration_batch(session, project)
    page = browse_as(labeler)
    page.goto(f"/p/{project.slug}/desk")
    page.wait_for_selector("#draft-state", state="attached")
    check(page, "empty")
    page.locator("#answer").fill("# Plan\n\n1. **Rest**\n2. Run")
    check(page, "written")
    page.keyboard.press("Alt+p")
    check(page, "preview")


def test_a_fault_would_be_found(desk: Desk, project: Project) -> None:
    open_items(project)
    page = desk()
    page.locator("#main").evaluate("main => main.append(document.createElement('button'))")
    assert [fault for fault in serious_faults(page) if fault.startswith("button-name (critical)")] != []


def durations(page: Page) -> list[str]:
    running: list[str] = page.evaluate(
        "[...document.querySelectorAll('*')].map(each => getComputedStyle(each))"
        ".flatMap(style => [style.transitionDuration, style.animationDuration]).filter(time => time !== '0s')"
    )
    return running


def test_nothing_moves_where_motion_is_reduced(desk: Callable[[], Page], project: Project) -> None:
    """Neither by CSS nor when letters move the frame to a completion out of sight."""
    open_items(project, texts=[LONG] * 9)
    page = desk()
    page.emulate_media(reduced_motion="reduce")
    page.reload()
    page.wait_for_selector("#tiers .tier")
    assert durations(page) == []
    page.keyboard.press("i")
    assert page.locator("#completion-I").evaluate("each => each.getBoundingClientRect().top < innerHeight")
