"""What the browser tests of the ranking bench share: items to rank, what the page shows, what is stored."""

from collections.abc import Callable, Sequence

from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from app.accounts import service as accounts
from app.accounts.deps import COOKIE
from app.accounts.models import Person
from app.core.db import reading, writing
from app.labeling import service
from app.labeling.models import Completion, RankingPlace
from app.projects.models import Project
from tests.factories import make_completion, make_prompt

BrowseAs = Callable[[Person], Page]
Desk = Callable[..., Page]
TEXTS = ["Rex ran.", "Max slept.", "Spot sang.", "Bella swam."]


def open_phone(browser: Browser, live_server: str, person: Person) -> Page:
    """A page on a phone of 380 px on which this person is signed in; its context is closed by the test."""
    with writing() as session:
        token = accounts.start_session(session, person)
    context = browser.new_context(
        viewport={"width": 380, "height": 760}, has_touch=True, is_mobile=True, base_url=live_server
    )
    context.add_cookies([{"name": COOKIE, "value": token, "url": live_server}])
    return context.new_page()


def open_items(
    project: Project, *, items: int = 1, completions: int = 4, texts: Sequence[str] = (), prompt: str | None = None
) -> None:
    """A ranking batch: of these texts, else of as many short ones as are asked for."""
    written = texts or [f"{TEXTS[number % 4]} Version {number}." for number in range(completions)]
    with writing() as session:
        by_prompt = {}
        for _ in range(items):
            asked = make_prompt(session, project, text=prompt)
            by_prompt[asked.id] = [make_completion(session, asked, text=each) for each in written]
        service.create_ranking_batch(session, project, completions_by_prompt=by_prompt)


def seen(page: Page) -> dict[str, str]:
    """Which text the labeler sees under which letter."""
    texts = {}
    for article in page.query_selector_all("article.completion"):
        letter, text = article.get_attribute("data-letter"), article.query_selector(".text")
        assert letter
        assert text
        texts[letter] = text.inner_text()
    return texts


def submitted(page: Page) -> None:
    """Wait for the receipt, then check that the page moved on."""
    expect(page.locator(".receipt")).to_be_visible()


def stored_ranks() -> dict[str, int]:
    """Ranks by text, from the rows."""
    with reading() as session:
        query = select(Completion.text, RankingPlace.rank).join(
            RankingPlace, RankingPlace.completion_id == Completion.id
        )
        return dict(session.execute(query).all())


def by_text(texts: dict[str, str], **ranks: int) -> dict[str, int]:
    return {texts[letter]: rank for letter, rank in ranks.items()}
