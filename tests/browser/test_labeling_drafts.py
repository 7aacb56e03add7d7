"""Work is never lost: drafts, offline, signed out, a server that dies between click and answer."""

import json
from collections.abc import Callable

import pyotp
import pytest
from playwright.sync_api import Dialog, Page, Route, expect
from sqlalchemy import delete, select

from app.accounts import second_factor
from app.accounts import service as accounts
from app.accounts.models import Person, SignIn
from app.core.db import get_engine, reading, writing
from app.labeling.models import Assignment, Demonstration, Ranking, RankingPlace
from app.projects.models import Project
from tests.app.labeling.rows import make_demonstration_batch, make_ranking_batch
from tests.factories import make_person
from tests.full_disk import BIG, full_disk

BrowseAs = Callable[[Person], Page]
STATE = "#draft-state"


@pytest.fixture
def writing_page(browse_as: BrowseAs, labeler: Person, project: Project) -> Page:
    with writing() as session:
        make_demonstration_batch(session, project)
    page = browse_as(labeler)
    page.goto(f"/p/{project.slug}/desk")
    page.wait_for_selector("#draft-state", state="attached")
    return page


@pytest.fixture
def ranking_page(browse_as: BrowseAs, labeler: Person, project: Project) -> Page:
    with writing() as session:
        make_ranking_batch(session, project)
    page = browse_as(labeler)
    page.goto(f"/p/{project.slug}/desk")
    page.wait_for_selector("#tiers .tier")
    return page


def draft_in_database() -> dict[str, object] | None:
    with reading() as session:
        return session.scalars(select(Assignment.draft)).one()


def kept_in_browser(page: Page) -> list[dict[str, object]]:
    found: list[str] = page.evaluate(
        "Object.keys(localStorage).filter(key => key.startsWith('touchstone:draft:')).map(key => localStorage[key])"
    )
    return [json.loads(each) for each in found]


def states_told(page: Page) -> list[str]:
    """What the page says of the draft from now on, however briefly: the list grows."""
    said: list[str] = []
    page.expose_function("heard", lambda words: said.append(words))
    page.evaluate(
        "chip => new MutationObserver(() => heard(chip.textContent)).observe(chip, { childList: true })",
        page.locator(STATE).element_handle(),
    )
    return said


def rank_all(page: Page) -> None:
    for key in ("a", "1", "b", "2", "c", "3", "d", "3"):
        page.keyboard.press(key)


def test_a_draft_is_saved_as_one_types_and_is_there_after_a_reload(writing_page: Page) -> None:
    page = writing_page
    page.keyboard.type("Max was a brave dog.")
    expect(page.locator(STATE)).to_have_text("Not saved yet")
    expect(page.locator(STATE)).to_have_text("Draft saved")
    draft = draft_in_database()
    assert draft
    assert draft["text"] == "Max was a brave dog."
    assert kept_in_browser(page) == []
    page.reload()
    expect(page.locator("#answer")).to_have_value("Max was a brave dog.")
    expect(page.locator("#word-count")).to_have_text("5 words")
    expect(page.locator(STATE)).to_have_text("Draft saved")


def test_a_half_made_ranking_is_there_after_a_reload(ranking_page: Page) -> None:
    page = ranking_page
    for key in ("b", "1", "Shift+Digit5", "c", "3"):
        page.keyboard.press(key)
    page.get_by_label("D: Hallucination").check()
    page.get_by_text("Note on A").click()
    page.get_by_label("Note on A").fill("dull")
    expect(page.locator(STATE)).to_have_text("Draft saved")
    page.reload()
    expect(page.locator("#order-words")).to_have_text("B > C; left: A, D")
    assert page.get_by_label("B, Overall quality: 5 of 7").is_checked()
    assert page.get_by_label("D: Hallucination").is_checked()
    expect(page.get_by_label("Note on A")).to_have_value("dull")


def test_offline_and_back(writing_page: Page) -> None:
    page = writing_page
    page.context.set_offline(True)
    page.keyboard.type("Written on a train.")
    expect(page.locator(STATE)).to_have_text("Offline · kept in this browser")
    assert [each["text"] for each in kept_in_browser(page)] == ["Written on a train."]
    assert draft_in_database() is None
    page.context.set_offline(False)
    expect(page.locator(STATE)).to_have_text("Draft saved")
    draft = draft_in_database()
    assert draft
    assert draft["text"] == "Written on a train."
    assert kept_in_browser(page) == []


def test_what_only_the_browser_has_comes_back_and_is_saved(writing_page: Page) -> None:
    """The tab is closed while the server can't be reached; opened again, the text is there and goes to the server."""
    page = writing_page
    page.route("**/draft", lambda route: route.abort("internetdisconnected"))
    page.keyboard.type("Almost lost.")
    expect(page.locator(STATE)).to_have_text("Offline · kept in this browser")
    page.on("dialog", lambda dialog: dialog.accept())
    page.unroute("**/draft")
    page.reload()
    expect(page.locator("#answer")).to_have_value("Almost lost.")
    expect(page.locator(STATE)).to_have_text("Draft saved")
    draft = draft_in_database()
    assert draft
    assert draft["text"] == "Almost lost."


def test_leaving_asks_only_while_something_is_unsaved(writing_page: Page) -> None:
    page = writing_page
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", answer)
    page.keyboard.type("Saved.")
    expect(page.locator(STATE)).to_have_text("Draft saved")
    page.goto("/me")
    assert asked == []
    page.go_back()
    page.wait_for_selector("#answer")
    page.route("**/draft", lambda route: route.abort("internetdisconnected"))
    page.locator("#answer").press("End")
    page.keyboard.type(" And more.")
    expect(page.locator(STATE)).to_have_text("Offline · kept in this browser")
    page.goto("/me")
    assert asked == ["beforeunload"]


def test_the_server_dies_between_click_and_answer(ranking_page: Page) -> None:
    """The submission is stored and its answer lost: the page tries again with the same key; all is stored once."""
    page = ranking_page
    rank_all(page)
    calls: list[str] = []

    def lose_the_first_answer(route: Route) -> None:
        calls.append(route.request.post_data or "")
        if len(calls) == 1:
            route.fetch()  # the server stores it
            route.abort("connectionrefused")
        else:
            route.continue_()

    page.route("**/submit", lose_the_first_answer)
    said = states_told(page)
    page.keyboard.press("Control+Enter")
    expect(page.locator(".receipt")).to_contain_text("You submitted A > B > C = D")
    assert said[-3:] == ["Submitting…", "Not stored yet · trying again in 1 s", "Submitting…"]
    assert len(calls) == 2
    assert json.loads(calls[0])["submission_key"] == json.loads(calls[1])["submission_key"]
    with reading() as session:
        assert len(session.scalars(select(Ranking)).all()) == 1
        assert len(session.scalars(select(RankingPlace)).all()) == 4


def test_no_draft_is_sent_while_the_work_is_handed_in(ranking_page: Page) -> None:
    """Stored already, it would be refused, and the page would say of stored work that it is not saved."""
    page = ranking_page
    drafts: list[str] = []
    page.on("request", lambda sent: drafts.append(sent.url) if sent.url.endswith("/draft") else None)
    held: list[Route] = []
    page.route("**/submit", lambda route: held.append(route))
    page.clock.install()
    rank_all(page)
    page.keyboard.press("Control+Enter")
    expect(page.locator(STATE)).to_have_text("Submitting…")
    page.clock.run_for(10_000)
    assert drafts == []
    expect(page.locator(STATE)).to_have_text("Submitting…")
    held[0].fulfill(status=409, json={"detail": "This batch is closed."})
    expect(page.get_by_role("alert")).to_contain_text("This batch is closed.")
    expect(page.locator(STATE)).to_have_text("Draft saved")
    assert len(drafts) == 1


def test_a_server_that_is_down_is_tried_until_it_stores(ranking_page: Page) -> None:
    page = ranking_page
    rank_all(page)
    calls: list[int] = []

    def fail_twice(route: Route) -> None:
        calls.append(1)
        if len(calls) <= 2:
            route.abort("connectionrefused")
        else:
            route.continue_()

    page.route("**/submit", fail_twice)
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("#submit")).to_be_disabled()
    expect(page.locator(".receipt")).to_be_visible()
    assert len(calls) == 3


def test_on_a_full_disk_one_is_told_and_the_draft_stays_until_there_is_room(writing_page: Page) -> None:
    page = writing_page
    with full_disk(get_engine()):
        page.locator("#answer").fill(BIG)
        expect(page.locator(STATE)).to_have_text("The server can’t save just now · kept in this browser")
        page.keyboard.press("Control+Enter")
        expect(page.get_by_role("alert")).to_contain_text("The server’s disk is full, so this is not stored.")
        expect(page.get_by_role("alert")).to_be_in_viewport()
        expect(page.locator(STATE)).to_contain_text("Not stored yet · trying again in")
        assert [each["text"] for each in kept_in_browser(page)] == [BIG]
        expect(page.locator("#answer")).to_have_value(BIG)
    expect(page.locator(".receipt")).to_contain_text("a demonstration of")
    assert kept_in_browser(page) == []
    with reading() as session:
        assert session.scalars(select(Demonstration.text)).all() == [BIG.strip()]


def test_a_double_click_submits_once(ranking_page: Page) -> None:
    page = ranking_page
    rank_all(page)
    page.locator("#submit").dblclick()
    expect(page.locator(".receipt")).to_be_visible()
    with reading() as session:
        assert len(session.scalars(select(Ranking)).all()) == 1


def test_signed_out_while_writing_one_signs_in_in_place(writing_page: Page, labeler: Person) -> None:
    page = writing_page
    with writing() as session:
        person = session.get_one(Person, labeler.id)
        accounts.set_password(person, "a long enough password")
        device = pyotp.TOTP(second_factor.begin(session, person).secret.replace(" ", ""))
        recovery_code = second_factor.confirm(session, person, device.now())[0]
        session.execute(delete(SignIn))
    page.keyboard.type("Still here.")
    expect(page.locator(STATE)).to_have_text("Signed out · kept in this browser")
    page.get_by_role("button", name="Sign in", exact=True).click()
    form = page.get_by_role("dialog", name="Sign in again")
    expect(form.get_by_label("E-mail")).to_have_value(labeler.email)
    form.get_by_label("Password").fill("not this one")
    page.keyboard.press("Enter")
    expect(form.get_by_role("alert")).to_contain_text("The address or the password is wrong.")
    form.get_by_label("Password").fill("a long enough password")
    expect(form.get_by_label("Code of your authenticator app")).to_be_hidden()
    page.keyboard.press("Enter")
    expect(form.get_by_label("Code of your authenticator app")).to_be_focused()
    page.keyboard.type(recovery_code)
    page.keyboard.press("Enter")
    expect(page.locator(STATE)).to_have_text("Draft saved")
    expect(page.locator("#answer")).to_have_value("Still here.")


def test_signed_out_at_the_click_it_is_handed_in_after_signing_in(writing_page: Page, labeler: Person) -> None:
    page = writing_page
    with writing() as session:
        accounts.set_password(session.get_one(Person, labeler.id), "a long enough password")
    page.keyboard.type("Still here.")
    expect(page.locator(STATE)).to_have_text("Draft saved")
    with writing() as session:
        session.execute(delete(SignIn))
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("#problem")).to_contain_text("You are signed out, so this is not stored yet.")
    page.keyboard.type("a long enough password")
    page.keyboard.press("Enter")
    expect(page.locator(".receipt")).to_contain_text("a demonstration of 2 words")
    with reading() as session:
        assert session.scalars(select(Demonstration.text)).all() == ["Still here."]


def test_another_person_who_signs_in_hands_nothing_in(writing_page: Page, labeler: Person, project: Project) -> None:
    page = writing_page
    with writing() as session:
        other = make_person(session, project=project)
        accounts.set_password(other, "a long enough password")
        session.execute(delete(SignIn))
    page.keyboard.type("Still here.")
    page.get_by_role("button", name="Submit").click()
    form = page.get_by_role("dialog", name="Sign in again")
    form.get_by_label("E-mail").fill(other.email)
    form.get_by_label("Password").fill("a long enough password")
    page.keyboard.press("Enter")
    expect(form.get_by_role("alert")).to_contain_text(f"This is {labeler.name}'s work")
    with reading() as session:
        assert session.scalars(select(Demonstration)).all() == []


def test_what_was_pasted_is_kept_as_a_fact(writing_page: Page) -> None:
    page = writing_page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.keyboard.type("Max said: ")
    page.evaluate("navigator.clipboard.writeText('a quotation')")
    page.keyboard.press("Control+v")
    expect(page.locator("#pasted")).to_have_text("11 characters pasted ·")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".receipt")).to_be_visible()
    with reading() as session:
        made = session.scalars(select(Demonstration)).one()
    assert (made.text, made.pasted_characters) == ("Max said: a quotation", 11)


def test_a_refusal_says_why_and_keeps_the_page(ranking_page: Page) -> None:
    page = ranking_page
    rank_all(page)
    page.locator("input[name=submission_key]").evaluate("input => { input.value = 'x' }")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("submission_key")
    expect(page.locator("#order-words")).to_have_text("A > B > C = D")
    expect(page.locator("#submit")).to_be_enabled()


def test_a_preview_shows_markdown_and_never_markup(writing_page: Page) -> None:
    page = writing_page
    page.locator("#answer").fill("# Plan\n\n1. **Rest**\n2. Run\n\n<img src=x onerror=alert(1)>\n\n```\ncode <b>\n```")
    page.keyboard.press("Alt+p")
    preview = page.locator("#preview")
    expect(preview.locator("h3")).to_have_text("Plan")
    expect(preview.locator("ol li")).to_have_text(["Rest", "Run"])
    expect(preview.locator("pre")).to_have_text("code <b>")
    expect(preview).to_contain_text("<img src=x onerror=alert(1)>")
    assert preview.locator("img, b").count() == 0
    page.keyboard.press("Alt+p")
    expect(page.locator("#answer")).to_be_focused()


def test_a_demonstration_is_submitted_by_keyboard(writing_page: Page) -> None:
    page = writing_page
    expect(page.locator("#submit")).to_be_disabled()
    page.keyboard.type("Once there was a dog.")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".receipt")).to_contain_text("a demonstration of 5 words")
    assert kept_in_browser(page) == []
    with reading() as session:
        assert session.scalars(select(Demonstration.text)).all() == ["Once there was a dog."]
