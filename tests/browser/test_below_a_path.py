"""Below a path, behind a real proxy over TLS, on PostgreSQL: nothing is asked for outside, and nothing is refused."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, expect
from sqlalchemy import select

from app.accounts import service as accounts
from app.accounts.deps import cookie_name
from app.accounts.models import Person, Role
from app.core.db import reading, writing
from app.labeling.models import Ranking
from app.projects.models import Project
from tests.browser.ranking_desk import open_items, submitted
from tests.browser.test_hostile_texts import WATCH, addresses_of, walk
from tests.ports import free_port
from tests.proxies import BASE, Proxy
from tests.security.hostile import fill

PASSWORD = "three red boats"


@pytest.fixture
def public_port() -> int:
    return free_port()


@pytest.fixture
def installation_url(postgres_url: str, public_port: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TOUCHSTONE_PUBLIC_URL", f"https://127.0.0.1:{public_port}{BASE}")
    return postgres_url


@pytest.fixture
def address(live_server: str, public_port: int, certificate: Path, tmp_path: Path) -> Iterator[str]:
    web = int(live_server.rsplit(":", 1)[1])
    with Proxy("caddy", public_port, certificate, tmp_path, takes_off=True).start(web) as proxy:
        yield proxy.address


@pytest.fixture
def outside(address: str) -> list[str]:
    """What the browser asked for that is not below the path."""
    return []


@pytest.fixture
def context(browser: Browser, address: str, outside: list[str]) -> Iterator[BrowserContext]:
    context = browser.new_context(ignore_https_errors=True)
    context.add_init_script(WATCH)
    context.on(
        "request",
        lambda asked: (
            outside.append(asked.url) if not asked.url.startswith((f"{address}/", "data:", "blob:")) else None
        ),
    )
    yield context
    context.close()


def test_a_labeler_signs_in_and_labels_by_keyboard(
    context: BrowserContext, address: str, outside: list[str], labeler: Person, project: Project
) -> None:
    open_items(project, items=2)
    with writing() as session:
        accounts.set_password(session.get_one(Person, labeler.id), PASSWORD)
    page = context.new_page()
    page.goto(f"{address}/p/{project.slug}/desk")
    page.locator("[name=email]").fill(labeler.email)
    page.locator("[name=password]").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{address}/p/{project.slug}/desk")
    page.wait_for_selector("#tiers .tier")
    for key in ("1", "j", "2", "j", "3", "j", "4", "Control+Enter"):
        page.keyboard.press(key)
    submitted(page)
    expect(page.locator("article.completion")).to_have_count(4)  # the next item
    with reading() as session:
        assert len(session.scalars(select(Ranking)).all()) == 1
    assert page.evaluate("window.broken") == []
    assert outside == []


@pytest.mark.prove  # every attribute that may hold an address is found by tests/app/core/test_base_path.py
def test_every_page_of_an_admin_stays_below_the_path(
    context: BrowserContext, address: str, outside: list[str], admin: Person, researcher: Person, labeler: Person,
    project: Project,
) -> None:  # fmt: skip
    fill(project, {Role.admin: admin, Role.researcher: researcher, Role.labeler: labeler})
    with writing() as session:
        token = accounts.start_session(session, admin)
    cookies = {cookie_name(): token}
    with httpx.Client(base_url=address, cookies=cookies, timeout=30, verify=False) as client:
        found = addresses_of(client, project)
    context.add_cookies(
        [{"name": name, "value": value, "url": address, "secure": True} for name, value in cookies.items()]
    )
    assert walk(context, (f"{address}{each}" for several in found.values() for each in several)) == []
    assert outside == []
