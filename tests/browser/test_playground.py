"""The playground in a real browser: asked by keyboard, answered by a real worker, stopped, cut off, narrow, dark."""

import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from playwright.sync_api import Browser, Page, expect

from app.accounts import service as accounts
from app.accounts.deps import COOKIE
from app.accounts.models import Person
from app.core.config import Settings
from app.core.db import reading, writing
from app.core.queue import Queue
from app.core.storage import get_artefacts
from app.playground import line
from app.projects.models import Project
from app.registry.models import Model, ModelKind
from app.runs import workers
from tests.app.playground.answering import idle_worker
from tests.browser.axe import serious_faults
from tests.browser.looks import LOOKS, Look, take
from tests.factories import make_model
from tests.workers.jobs.processes import eventually, running_redis, running_worker
from tests.workers.tiny import save_base

BrowseAs = Callable[[Person], Page]


@pytest.fixture
def models(project: Project, tmp_path: Path) -> list[Model]:
    """Two tiny models that can really be asked."""
    made = []
    with writing() as session:
        for seed, (name, kind) in enumerate([("sft-1", ModelKind.sft), ("ppo-1", ModelKind.policy)]):
            model = make_model(session, project, name=name, kind=kind)
            model.storage_key, model.parameters = f"models/{model.id}", 30_000
            get_artefacts().put_folder(model.storage_key, save_base(tmp_path / name, seed=seed))
            made.append(model)
    return made


@pytest.fixture
def line_up(installation: Settings, page: Page) -> Iterator[redis.Redis]:
    with idle_worker(installation) as client:
        yield client
        page.goto("about:blank")  # a page that listens would hear that Redis went away, and say so


def _has_worker() -> bool:
    with reading() as session:
        return bool(workers.live_workers(session))


def _ask(page: Page, project: Project, text: str = "Write a story about a dog.") -> None:
    page.goto(f"/p/{project.slug}/models/playground")
    expect(page.get_by_label("What is asked")).to_be_focused()
    page.keyboard.type(text)
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**ask=**")


def _asked(page: Page) -> uuid.UUID:
    found = re.search(r"ask=([0-9a-f-]{36})", page.url)
    assert found
    return uuid.UUID(found[1])


def _says(client: redis.Redis, ask_id: uuid.UUID, *texts: str) -> None:
    """What a worker says that has begun to write on each side."""
    for side, text in enumerate(texts):
        line.say(client, ask_id, {"kind": "state", "side": side, "state": "writing", "words": "reads the prompt"},
                 {"kind": "text", "side": side, "text": text, "anew": False})  # fmt: skip


def test_a_question_typed_and_sent_by_keyboard_is_answered_by_a_worker(
    browse_as: BrowseAs, researcher: Person, project: Project, models: list[Model], installation: Settings
) -> None:
    page = browse_as(researcher)
    with running_redis(installation), running_worker(installation, queue=Queue.playground):
        page.goto(f"/p/{project.slug}/models")
        page.get_by_role("link", name="Playground").click()
        page.get_by_label("What is asked").fill("Write a story about a dog.")
        page.get_by_label("New tokens, at most").fill("12")
        page.get_by_label("What is asked").press("Control+Enter")
        expect(page.get_by_role("alert")).to_contain_text("No worker is running")
        eventually(_has_worker, what="the worker is there")
        page.get_by_label("What is asked").press("Control+Enter")
        answers = page.locator(".answer")
        expect(answers).to_have_count(2)
        for answer in answers.all():
            expect(answer.locator(".words")).to_have_text(
                re.compile(r"\d+ tokens?, [\d,]+ a second, (ended by itself|cut off at the limit)"), timeout=60_000
            )
            expect(answer.locator(".plain")).not_to_be_empty()
        expect(page.get_by_role("button", name="Stop")).to_have_count(0)
        expect(page.locator("#word")).to_be_hidden()
        answers.nth(1).get_by_role("button", name="Go on from this answer").click()
        expect(page.locator("textarea")).to_have_count(3)
        expect(page.get_by_role("textbox", name="Turn 3")).to_be_focused()


def test_words_come_as_they_are_said_and_escape_stops(
    browse_as: BrowseAs, researcher: Person, project: Project, models: list[Model], line_up: redis.Redis
) -> None:
    page = browse_as(researcher)
    _ask(page, project)
    expect(page.locator("#word")).to_contain_text("A worker takes the question")
    ask_id = _asked(page)
    assert line.take(line_up, ask_id, worker="box-1")
    _says(line_up, ask_id, "The <b>sea</b>", "Ein Café")
    left, right = page.locator(".answer .plain").all()
    expect(left).to_have_text("The <b>sea</b>")
    expect(right).to_have_text("Ein Café")
    expect(page.locator("#word")).to_be_hidden()
    _says(line_up, ask_id, " is wide")
    expect(left).to_have_text("The <b>sea</b> is wide")
    page.reload()
    expect(left).to_have_text("The <b>sea</b> is wide")
    _says(line_up, ask_id, "!")
    expect(left).to_have_text("The <b>sea</b> is wide!")
    page.locator("h1").click()
    with page.expect_navigation():
        page.keyboard.press("Escape")
    assert line.beat(line_up, ask_id, worker="box-1") == "You stopped it."
    line.finish(line_up, ask_id, "You stopped it.")
    expect(page.locator("#word")).to_have_text("You stopped it.")
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    expect(left).to_have_text("The <b>sea</b> is wide!")
    expect(page.get_by_role("button", name="Ask again")).to_be_visible()


def test_a_worker_that_dies_ends_it_in_words(
    browse_as: BrowseAs, researcher: Person, project: Project, models: list[Model], line_up: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(line, "SILENT_AFTER", 0.5)
    page = browse_as(researcher)
    _ask(page, project)
    assert line.take(line_up, _asked(page), worker="box-1")
    _says(line_up, _asked(page), "Once", "There")
    expect(page.locator("#word")).to_contain_text("gives no sign any more")
    expect(page.locator(".answer .plain").first).to_have_text("Once")
    page.get_by_role("button", name="Ask again").click()
    expect(page.locator("#word")).to_contain_text("A worker takes the question")


def test_a_question_that_is_forgotten_meanwhile_is_said(
    browse_as: BrowseAs, researcher: Person, project: Project, models: list[Model], line_up: redis.Redis
) -> None:
    page = browse_as(researcher)
    _ask(page, project)
    expect(page.locator("#word")).to_contain_text("A worker takes the question")
    line_up.flushall()
    expect(page.locator("#word")).to_contain_text("no longer kept")
    page.reload()
    expect(page.get_by_text("These answers are no longer kept.")).to_be_visible()


@pytest.mark.parametrize("look", LOOKS)
def test_the_page_is_whole_at_both_widths_and_in_both_colours(
    browse_as: BrowseAs, researcher: Person, project: Project, models: list[Model], line_up: redis.Redis,
    look: Look,
) -> None:  # fmt: skip
    page = browse_as(researcher)
    take(page, look)
    _ask(page, project, "Write a story about a dog and a very long walk. " * 4)
    ask_id = _asked(page)
    assert line.take(line_up, ask_id, worker="box-1")
    _says(line_up, ask_id, "Once upon a time " * 30, "a" * 300)
    expect(page.locator(".answer .plain").nth(1)).to_have_text("a" * 300)
    assert serious_faults(page) == []
    line.say(line_up, ask_id, {"kind": "state", "side": 1, "state": "failed", "words": "The prompt is too long."},
             {"kind": "reward", "side": 0, "words": "reward +0.42"})  # fmt: skip
    line.finish(line_up, ask_id, "The worker that answered gives no sign any more.", is_bad=True)
    expect(page.locator("#word")).to_contain_text("no sign")
    expect(page.get_by_text("reward +0.42")).to_be_visible()
    assert serious_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_without_scripts_it_is_asked_and_read_as_well(
    browser: Browser, live_server: str, researcher: Person, project: Project, models: list[Model], line_up: redis.Redis
) -> None:
    with writing() as session:
        token = accounts.start_session(session, researcher)
    context = browser.new_context(base_url=live_server, java_script_enabled=False)
    context.add_cookies([{"name": COOKIE, "value": token, "url": live_server}])
    page = context.new_page()
    page.goto(f"/p/{project.slug}/models/playground")
    page.get_by_label("What is asked").fill("Hm?")
    page.get_by_role("button", name="Ask").click()
    page.wait_for_url("**ask=**")
    _says(line_up, _asked(page), "Hm!", "Ho!")
    expect(page.locator(".answer .plain").first).to_have_text("Hm!")  # by itself, after two seconds
    line.finish(line_up, _asked(page))
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    context.close()
