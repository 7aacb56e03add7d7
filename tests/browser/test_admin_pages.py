"""The pages of leads and admins: axe finds nothing serious, nothing is too wide, and the keyboard does it all."""

import uuid
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from app.accounts.models import Person, PersonState
from app.core.db import reading, writing
from app.labeling import service
from app.labeling.answers import open_item
from app.labeling.leases import lease_next
from app.labeling.models import Batch, BatchState, Demonstration, Item, ItemPurpose, Report, ReportKind
from app.labeling.schemas import Submission
from app.labeling.self_assessment import SelfAssessed, assess
from app.labeling.submissions import submit
from app.projects import service as projects
from app.projects.models import GuidelinesKind, Project
from app.webhooks import service as webhooks
from app.webhooks.models import Webhook
from tests.app.labeling.rows import make_demonstration_batch, make_ranking_batch
from tests.browser.axe import serious_faults
from tests.browser.looks import LOOKS, take
from tests.factories import make_person, make_prompt

BrowseAs = Callable[[Person], Page]


@pytest.fixture(params=LOOKS)
def looks(page: Page, request: pytest.FixtureRequest) -> None:
    """The page in this colour scheme and width."""
    take(page, request.param)


@pytest.fixture
def candidate(project: Project, labeler: Person) -> Person:
    """A project at work: a half-done batch that a stop cord holds, a known answer, and a candidate with a screening."""
    with writing() as session:
        batch = make_ranking_batch(session, project, items=30, completions=4, name="Stories of round 1")
        for number in range(5):
            assignment = lease_next(session, labeler, project)
            assert assignment is not None
            ranks = dict(zip("ABCD", (1, 2, 2, 3), strict=True))
            sent = Submission(ranks=ranks, submission_key=str(uuid.uuid4()), active_seconds=500 * number)
            submit(session, labeler, assignment.id, sent)
        item = session.scalars(select(Item).where(Item.batch_id == batch.id).order_by(Item.position)).first()
        assert item is not None
        sheet = open_item(session, batch, item.id)
        order = [str(each.id) for each in sheet.completions.values()]
        item.purpose = ItemPurpose.gold
        item.gold = {"ranks": dict(zip(order, (1, 2, 3, 3), strict=True)), "flags": {order[3]: ["hallucination"]}}
        session.get_one(Batch, batch.id).state = BatchState.paused
        for kind, reason in ((ReportKind.stop_cord, "Every completion is empty"), (ReportKind.problem, "A typo")):
            row = Report(project_id=project.id, batch_id=batch.id, person_id=labeler.id, kind=kind, reason=reason)
            session.add(row)
        session.flush()
        person = make_person(session, project=project)
        person = session.get_one(Person, person.id)
        person.state, person.name = PersonState.screening, "Ines Okafor"
        prompts = [make_prompt(session, project, text="May I read my child's letters?")]
        service.create_screening_batch(session, project, answered=1, prompts=prompts)
        while (assignment := lease_next(session, person, project)) is not None:
            key = str(uuid.uuid4())
            text = Submission(text="It depends on the age.", submission_key=key)
            ranked = Submission(ranks=dict.fromkeys("ABCD", 1), submission_key=key)
            submit(session, person, assignment.id, ranked if assignment.shown_order else text)
        assess(session, person, project, SelfAssessed(topics=["religion", "politics"], languages="Yoruba"))
        told = Webhook(
            project_id=project.id,
            url="https://example.org/told",
            sealed_secret="x",
            events=["run.finished"],
            created_by=labeler.id,
        )
        session.add(told)
        session.flush()
        webhooks.ping(session, told)
        projects.publish_guidelines(session, project, GuidelinesKind.ranking, "# Be helpful\n\nPrefer short texts.")
        return person


def admin_pages(project: Project, candidate: Person) -> dict[str, str]:
    with reading() as session:
        batch = session.scalars(select(Batch.id).where(Batch.name == "Stories of round 1")).one()
        item = session.scalars(select(Item.id).where(Item.batch_id == batch, Item.purpose == ItemPurpose.gold)).one()
    start = f"/p/{project.slug}"
    return {
        "labeling": f"{start}/labeling",
        "new batch": f"{start}/labeling/new",
        "batch": f"{start}/labeling/batches/{batch}",
        "item": f"{start}/labeling/batches/{batch}/items/{item}",
        "screening": f"{start}/labeling/screening",
        "candidate": f"{start}/labeling/screening/{candidate.id}",
        "self-assessment": f"{start}/self-assessment",
        "settings": f"{start}/settings",
        "webhooks": f"{start}/webhooks",
        "guidelines": f"{start}/guidelines",
        "new guidelines": f"{start}/guidelines/ranking/new",
        "guidelines version": f"{start}/guidelines/ranking/2",
        "members": f"{start}/people",
        "everyone": "/people",
        "audit log": "/audit",
        "person": f"/people/{candidate.id}",
        "me": "/me",
    }


@pytest.mark.usefixtures("looks")
def test_every_page_of_an_admin(browse_as: BrowseAs, admin: Person, project: Project, candidate: Person) -> None:
    page = browse_as(admin)
    wrong: list[str] = []
    for name, address in admin_pages(project, candidate).items():
        page.goto(address)
        page.evaluate("document.querySelectorAll('main details').forEach((each) => { each.open = true; })")
        faults = serious_faults(page)
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            faults.append("wider than the window")
        if page.locator("h1:not(.reading h1)").count() != 1:
            faults.append("not one h1")
        wrong += [f"{name}: {fault}" for fault in faults]
    assert wrong == [], "\n".join(wrong)


def test_guidelines_are_previewed_while_they_are_written(browse_as: BrowseAs, admin: Person, project: Project) -> None:
    page = browse_as(admin)
    page.goto(f"/p/{project.slug}/guidelines/ranking/new")
    page.get_by_role("textbox", name="Text").fill("Be **brave** <script>window.hacked = 1</script>")
    expect(page.locator("#preview strong")).to_have_text("brave")
    assert page.evaluate("window.hacked") is None
    expect(page.get_by_role("textbox", name="Text")).to_be_focused()
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_role("heading", name="Ranking guidelines 2")).to_be_visible()


def test_a_lead_answers_an_item_by_keyboard_and_a_labeler_learns_from_it(
    browse_as: BrowseAs, admin: Person, labeler: Person, project: Project
) -> None:
    with writing() as session:
        batch = make_ranking_batch(session, project, completions=2, name="Lessons")
    page = browse_as(admin)
    page.goto(f"/p/{project.slug}/labeling/batches/{batch.id}")
    page.locator("#items tbody a").first.click()
    page.get_by_role("radio", name="Training").focus()
    page.keyboard.press("Space")
    for letter, place in (("A", 1), ("B", 1)):
        page.get_by_label(f"{letter} at rank {place}").focus()
        page.keyboard.press("Space")
    page.get_by_label("Why").fill("They say the *same*.")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Store")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#items")).to_contain_text("training")
    browse_as(labeler).goto(f"/p/{project.slug}/desk")
    page.wait_for_selector("#tiers .tier")
    for key in ("a", "1", "b", "2", "Control+Enter"):
        page.keyboard.press(key)
    answer = page.get_by_label("The known answer")
    expect(answer).to_contain_text("Our answer is A = B")
    expect(answer.locator("em")).to_have_text("same")
    page.get_by_role("link", name="Next item").click()
    expect(page.get_by_role("heading", name="All done")).to_be_visible()


def test_a_text_is_graded_by_keyboard(browse_as: BrowseAs, labeler: Person, project: Project) -> None:
    with writing() as session:
        author = make_person(session, project=project)
        make_demonstration_batch(session, project)
        assignment = lease_next(session, author, project)
        assert assignment is not None
        submit(session, author, assignment.id, Submission(text="A dog ran home.", submission_key=str(uuid.uuid4())))
        demonstrations = session.scalars(select(Demonstration)).all()
        service.create_grading_batch(session, project, demonstrations=demonstrations)
    page = browse_as(labeler)
    page.goto(f"/p/{project.slug}/desk")
    expect(page.get_by_role("heading", name="Grade the text")).to_be_attached()
    expect(page.get_by_role("checkbox", name="They cannot be ranked")).to_be_hidden()
    page.keyboard.press("6")
    expect(page.get_by_label("A, Overall quality: 6 of 7")).to_be_checked()
    assert serious_faults(page) == []
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("a grade of 6")).to_be_visible()
