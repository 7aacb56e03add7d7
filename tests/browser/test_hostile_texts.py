"""Every page of an installation whose every text means harm: nothing of it runs, nothing breaks the policy."""

from collections.abc import Callable, Iterable
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext

from app.accounts import service as accounts
from app.accounts.deps import COOKIE
from app.accounts.models import Person, Role
from app.core.db import writing
from app.projects.models import Project
from tests.factories import make_person
from tests.security.addresses import page_routes, pages
from tests.security.hostile import HOSTILE, fill, poison

SignedIn = Callable[[Person], tuple[BrowserContext, httpx.Client]]

# What the browser itself tells of what it refused, and what markup would have done had it been taken for markup.
WATCH = """
window.broken = [];
window.hacked = () => window.broken.push('a text ran');
document.addEventListener('securitypolicyviolation',
    (e) => window.broken.push(`${e.violatedDirective} ${e.blockedURI} ${e.sample}`));
"""
FOUND = """() => [...window.broken, ...[...document.querySelectorAll(
    'img[src*=hacked], script:not([src]):not([type=speculationrules]), [onerror], [onload], [href^="javascript:" i]')]
    .map((each) => each.outerHTML.slice(0, 200))]"""


@pytest.fixture
def people(admin: Person, researcher: Person, labeler: Person, project: Project) -> dict[Role, Person]:
    found = {Role.admin: admin, Role.researcher: researcher, Role.labeler: labeler}
    fill(project, found)
    return found


@pytest.fixture
def signed_in(browser: Browser, live_server: str) -> SignedIn:
    def _signed_in(person: Person) -> tuple[BrowserContext, httpx.Client]:
        with writing() as session:
            token = accounts.start_session(session, person)
        context = browser.new_context(base_url=live_server)
        context.add_cookies([{"name": COOKIE, "value": token, "url": live_server}])
        context.add_init_script(WATCH)
        return context, httpx.Client(base_url=live_server, cookies={COOKIE: token}, timeout=30)

    return _signed_in


def addresses_of(client: httpx.Client, project: Project) -> dict[str, list[str]]:
    """The pages of each route that this client is let in to."""

    def answers(address: str) -> bool:
        answer = client.get(address)
        assert answer.status_code < 500, f"{address}: {answer.status_code}"
        is_page = answer.headers.get("content-type", "").startswith("text/html")
        return answer.status_code == 200 and is_page and "content-disposition" not in answer.headers

    return pages(project, answers)


def walk(context: BrowserContext, addresses: Iterable[str]) -> list[str]:
    """What went wrong on any of them."""
    wrong: list[str] = []
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.on("pageerror", lambda error: wrong.append(f"{page.url}: {error}"))
    page.on("console", lambda said: wrong.append(f"{page.url}: {said.text}") if said.type == "error" else None)
    page.on("dialog", lambda dialog: dialog.dismiss())
    for address in addresses:
        page.goto(address, wait_until="load")
        wrong += [f"{address}: {each}" for each in page.evaluate(FOUND)]
    context.close()
    return wrong


# A researcher sees what an admin sees, but for some buttons: that is walked by `make prove`.
@pytest.mark.parametrize(
    "roles", [(Role.labeler, Role.admin), pytest.param(tuple(Role), marks=pytest.mark.prove)], ids=["two", "all"]
)
def test_xss_no_text_runs_on_any_page_and_none_breaks_the_policy(
    signed_in: SignedIn, people: dict[Role, Person], project: Project, roles: tuple[Role, ...]
) -> None:
    wrong, seen = [], set()
    for role in roles:
        context, client = signed_in(people[role])
        with client:
            found = addresses_of(client, project)
        seen |= {path for path, several in found.items() if several}
        wrong += walk(context, (address for several in found.values() for address in several))
    assert wrong == []
    assert set(page_routes()) - seen == set()


def test_xss_nothing_runs_for_who_is_not_signed_in(
    browser: Browser, live_server: str, people: dict[Role, Person]
) -> None:
    with writing() as session:
        link = accounts.new_sign_in_link(session, make_person(session))
        poison(session)
    context = browser.new_context(base_url=live_server)
    context.add_init_script(WATCH)
    assert walk(context, ["/sign-in", f"/sign-in?then=/{quote(HOSTILE)}", link, f"/people?{quote(HOSTILE)}"]) == []


def test_xss_nothing_runs_in_the_report_that_is_opened_from_a_disk(
    signed_in: SignedIn, people: dict[Role, Person], project: Project
) -> None:
    context, client = signed_in(people[Role.researcher])
    with client:
        report = client.get(f"/p/{project.slug}/evaluations/report?figures=true").text
    assert "hacked()" in report, "nothing hostile is in it"
    page = context.new_page()
    page.goto("about:blank")
    page.evaluate(WATCH)
    page.set_content(report)  # no header of ours protects it there
    found = page.evaluate(FOUND)
    context.close()
    assert found == []
