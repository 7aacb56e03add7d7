"""A real Chromium on a real server: the installation of one test, served on a port of its own."""

import shutil
import threading
from collections.abc import Callable, Iterator

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

from app.accounts import service as accounts
from app.accounts.deps import COOKIE
from app.accounts.models import Person
from app.core.config import Settings
from app.core.db import writing
from app.main import create_app
from app.projects.models import Project
from tests.ports import free_port

pytestmark = pytest.mark.browser
expect.set_options(timeout=20_000)  # the default of 5 s is short where other tests keep the cores busy
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/browser/" in str(item.path):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """The system's Chromium where there is one, else Playwright's own."""
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
    yield browser
    browser.close()


@pytest.fixture
def live_server(installation: Settings) -> Iterator[str]:
    """The web process of `installation`, in a thread; gives its address."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(create_app(), host="127.0.0.1", port=port, log_level="error", ws="none"))
    started = threading.Event()
    server_startup = server.startup

    async def startup(*args: object, **kwargs: object) -> None:
        await server_startup(*args, **kwargs)  # type: ignore[arg-type]
        started.set()

    server.startup = startup  # type: ignore[method-assign,assignment]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert started.wait(20), "the web process did not start within 20 s"
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)


@pytest.fixture
def page(browser: Browser, live_server: str) -> Iterator[Page]:
    """A tab at 1440 px whose page errors and console errors fail the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=live_server)
    page = context.new_page()
    page.set_default_timeout(10_000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    unexpected = [
        text
        for text in wrong
        if "status of 4" not in text
        and "status of 507" not in text  # a full disk, which the page tells in words
        and "Response Status Error Code 4" not in text  # htmx's word on the same, as when someone else signed in
        and not text.startswith(("htmx:afterRequest", "htmx:sendError"))  # its word on a lost connection
        and "ERR_INTERNET_DISCONNECTED" not in text
        and "ERR_CONNECTION_REFUSED" not in text
    ]
    assert unexpected == []


@pytest.fixture
def browse_as(page: Page, live_server: str) -> Callable[[Person], Page]:
    """`browse_as(person)` signs the tab in as that person."""

    def _browse_as(person: Person) -> Page:
        with writing() as session:
            token = accounts.start_session(session, person)
        page.context.clear_cookies()
        page.context.add_cookies([{"name": COOKIE, "value": token, "url": live_server}])
        return page

    return _browse_as


@pytest.fixture
def desk(browse_as: Callable[[Person], Page], labeler: Person, project: Project) -> Callable[..., Page]:
    """Opens the ranking desk as the labeler, scripts running."""

    def _desk(waits_for: str = "#tiers .tier") -> Page:
        page = browse_as(labeler)
        page.goto(f"/p/{project.slug}/desk")
        page.wait_for_selector(waits_for)
        return page

    return _desk
