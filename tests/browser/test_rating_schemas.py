"""Writing a version of the rating schema: by keyboard, with the preview at once, at both widths and in both colours."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from app.accounts.models import Person
from app.core.db import reading, writing
from app.labeling.leases import lease_next
from app.labeling.rating_schemas import paper_fields
from app.projects import service as projects
from app.projects.models import Project
from app.projects.pauses import pause
from tests.app.labeling.rows import make_demonstration_batch, make_ranking_batch
from tests.browser.axe import serious_faults
from tests.browser.looks import LOOKS, Look, take

BrowseAs = Callable[[Person], Page]


def address(project: Project) -> str:
    return f"/p/{project.slug}/rating-schemas"


def wordings(page: Page) -> list[str]:
    return [each.input_value() for each in page.locator("input[name=flags_label]").all()]


def test_an_admin_writes_a_version_by_keyboard(browse_as: BrowseAs, admin: Person, project: Project) -> None:
    page = browse_as(admin)
    page.goto(f"{address(project)}/new")
    assert wordings(page) == ["Fails the task", "Hallucination"]
    page.get_by_role("button", name="Move Hallucination up").focus()
    page.keyboard.press("Enter")
    expect(page.locator("input[name=flags_label]").first).to_have_value("Hallucination")
    expect(page.get_by_role("button", name="Move Hallucination down")).to_be_focused()
    expect(page.locator("#preview ins")).to_contain_text("Order of the flags: hallucination, fails_task")
    page.get_by_role("button", name="Add a flag").click()
    expect(page.locator("input[name=flags_label]").nth(2)).to_be_focused()
    page.keyboard.type("Is rude to the person who asks")
    expect(page.locator("#preview .flags-seen li")).to_have_count(3)
    expect(page.locator("#preview .flags-seen li").last).to_contain_text("Is rude")
    expect(page.locator("input[name=flags_label]").nth(2)).to_be_focused()
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Rating schema 2")
    with reading() as session:
        newest = projects.newest_rating_schema(session, project)
    assert newest is not None
    keys = [each["key"] for each in newest.fields["flags"]]
    assert keys == ["hallucination", "fails_task", "is_rude_to_the_person_who_asks"]


def test_enter_in_a_field_publishes_and_moves_nothing(browse_as: BrowseAs, admin: Person, project: Project) -> None:
    page = browse_as(admin)
    page.goto(f"{address(project)}/new")
    page.locator("input[name=flags_label]").nth(1).fill("Hallucinates")
    page.keyboard.press("Enter")
    page.wait_for_url("**/edit")
    assert wordings(page) == ["Fails the task", "Hallucinates"]
    with reading() as session:
        assert len(projects.schema_versions(session, project)) == 1


def test_the_form_works_without_scripts(
    page: Page, browse_as: BrowseAs, admin: Person, project: Project, live_server: str
) -> None:
    cookies = browse_as(admin).context.cookies()
    browser = page.context.browser
    assert browser is not None
    context = browser.new_context(java_script_enabled=False, base_url=live_server)
    context.add_cookies([{"name": each["name"], "value": each["value"], "url": live_server} for each in cookies])
    plain = context.new_page()
    plain.goto(f"{address(project)}/new")
    plain.get_by_role("button", name="Remove Hallucination").click()
    plain.get_by_role("button", name="Add a flag").click()
    plain.locator("input[name=flags_label]").nth(1).fill("Dull")
    plain.get_by_role("button", name="Publish").click()
    assert "Flag dull: Dull" in plain.content()
    assert "Flag hallucination" in plain.content()
    context.close()


@pytest.mark.parametrize("look", LOOKS)
def test_the_pages_are_whole(browse_as: BrowseAs, admin: Person, labeler: Person, project: Project, look: Look) -> None:
    with writing() as session:
        projects.publish_rating_schema(session, project, dict(paper_fields()))
        make_ranking_batch(session, project, name="Stories of round 1")
    page = browse_as(admin)
    take(page, look)
    for each in ("", "/new", "/2", "/1"):
        page.goto(address(project) + each)
        assert serious_faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= look[1], each
    page.goto(f"{address(project)}/new")
    page.locator("input[name=flags_label]").first.evaluate("each => each.removeAttribute('required')")
    page.locator("input[name=flags_label]").first.fill("")
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_role("alert")).to_contain_text("flag 1, label: Write some words.")
    assert serious_faults(page) == []


@pytest.mark.parametrize("look", LOOKS)
def test_a_pause_is_told_kindly(
    browse_as: BrowseAs, admin: Person, labeler: Person, project: Project, look: Look
) -> None:
    with writing() as session:
        make_demonstration_batch(session, project)
    page = browse_as(labeler)
    take(page, look)
    page.goto(f"/p/{project.slug}/desk")
    page.locator("#answer").fill("Once upon a time")
    expect(page.locator("#draft-state")).to_contain_text("saved")
    with writing() as session:
        pause(session, project, session.get_one(Person, labeler.id), reason="Let us talk about flags.", by=admin)
        assert lease_next(session, session.get_one(Person, labeler.id), project) is None
    page.locator("#answer").fill("Once upon a time there was a dog.")
    page.locator("#submit").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Your work in {project.name} is paused")
    expect(page.locator("main")).to_contain_text("Let us talk about flags.")
    expect(page.locator("main")).to_contain_text(admin.email)
    expect(page.locator(".receipt").first).to_contain_text("You submitted")
    assert serious_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= look[1]
    page = browse_as(admin)
    page.goto(f"/p/{project.slug}/labeling/labelers/{labeler.id}")
    expect(page.locator("#pause")).to_contain_text("Let us talk about flags.")
    assert serious_faults(page) == []
    page.get_by_role("button", name="Let the work in this project go on").click()
    expect(page.locator("#pause")).to_contain_text("ended by")
