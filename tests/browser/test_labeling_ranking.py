"""Every way of ranking in a real browser, each ending in the stored rows."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from app.accounts import service as accounts
from app.accounts.deps import COOKIE
from app.accounts.models import Person
from app.core.db import reading, writing
from app.labeling.models import Assignment, AssignmentState, Completion, Ranking, Rating
from app.projects.models import Project
from app.projects.service import publish_rating_schema
from tests.browser.ranking_desk import BrowseAs, Desk, by_text, open_items, open_phone, seen, stored_ranks, submitted
from tests.factories import make_person


def test_digits_letters_and_arrows(desk: Desk, project: Project) -> None:
    open_items(project, items=2)
    page = desk()
    texts = seen(page)
    expect(page.locator("#submit")).to_be_disabled()
    for key in ("1", "ArrowDown", "3", "j", "1", "d", "4"):
        page.keyboard.press(key)
    expect(page.locator("#left-words")).to_have_text("A = C > B > D")
    page.keyboard.press("Control+Enter")
    submitted(page)
    expect(page.locator(".receipt")).to_contain_text("You submitted A = C > B > D")
    assert stored_ranks() == by_text(texts, A=1, C=1, B=2, D=3)
    with reading() as session:
        assert session.scalars(select(Ranking.order_touched)).all() == [True]
    assert page.locator("article.completion").count() == 4, "the next item is there at once"


def test_a_rank_is_taken_away_changed_and_undone(desk: Desk, project: Project) -> None:
    open_items(project)
    page = desk()
    words = page.locator("#order-words")
    for key in ("a", "1", "b", "2", "c", "3"):
        page.keyboard.press(key)
    page.keyboard.press("Backspace")
    expect(words).to_have_text("A > B; left: C, D")
    page.keyboard.press("u")
    expect(words).to_have_text("A > B > C; left: D")
    page.keyboard.press("b")
    page.keyboard.press("1")
    expect(words).to_have_text("A = B > C; left: D")
    page.keyboard.press("Control+z")
    expect(words).to_have_text("A > B > C; left: D")
    for _ in range(3):
        page.keyboard.press("u")
    expect(words).to_have_text("left: A, B, C, D")
    expect(page.locator("#undo")).to_be_disabled()


def test_buttons_alone(desk: Desk, project: Project) -> None:
    open_items(project)
    page = desk()
    texts = seen(page)
    for letter, rank in (("A", 2), ("B", 1), ("C", 1), ("D", 4)):
        page.get_by_label(f"{letter} at rank {rank}", exact=True).click()
    page.get_by_label("A, Overall quality: 6 of 7").click()
    page.get_by_label("D: Hallucination").click()
    page.get_by_role("button", name="Submit").click()
    submitted(page)
    assert stored_ranks() == by_text(texts, B=1, C=1, A=2, D=3)
    with reading() as session:
        query = select(Completion.text, Rating).join(Rating, Rating.completion_id == Completion.id)
        ratings = {text: (rating.likert, rating.flags) for text, rating in session.execute(query)}
    assert ratings == {texts["A"]: ({"overall": 6}, []), texts["D"]: ({}, ["hallucination"])}


def test_flags_have_short_labels_that_are_whole_and_long_ones_for_who_asks(desk: Desk, project: Project) -> None:
    flag = {"key": "lost", "label": "Loses the thread of the story before its end", "short": "Loses the thread"}
    with writing() as session:
        publish_rating_schema(session, project, {"flags": [flag, {"key": "dull", "label": "Dull"}]})
    open_items(project)
    page = desk()
    chips = page.locator("#completion-A .flag .chip")
    expect(chips).to_have_text(["Loses the thread", "Dull"])
    assert chips.evaluate_all("all => all.every(chip => chip.scrollWidth <= chip.clientWidth)"), "none is cut off"
    expect(page.locator("#completion-A .flag").first).to_have_attribute("title", flag["label"])
    expect(page.get_by_label(f"A: {flag['label']}")).to_be_visible()


def test_a_click_on_the_rank_that_is_set_takes_it_away(desk: Desk, project: Project) -> None:
    open_items(project)
    page = desk()
    for _ in range(2):
        page.get_by_label("A at rank 1", exact=True).click()
    expect(page.locator("#order-words")).to_have_text("left: A, B, C, D")


def drag(page: Page, letter: str, target: str) -> None:
    """Drag a letter at the foot to a tier's place or back among those left over."""
    start = page.locator(f".order button.letter[data-letter={letter}]").bounding_box()
    end = page.locator(target).bounding_box()
    assert start
    assert end
    page.mouse.move(start["x"] + start["width"] / 2, start["y"] + start["height"] / 2)
    page.mouse.down()
    for nudge in (0, 2):  # the last move is made over the target, as a hand does
        page.mouse.move(end["x"] + end["width"] - 6 + nudge, end["y"] + end["height"] / 2, steps=10)
    page.mouse.up()


def test_dragging_between_tiers(desk: Desk, project: Project) -> None:
    open_items(project)
    page = desk()
    page.emulate_media(reduced_motion="reduce")  # letters that still glide would have to be waited for
    page.reload()
    page.wait_for_selector("#tiers .tier")
    texts = seen(page)
    words = page.locator("#order-words")
    steps = (
        ("A", 3, "A; left: B, C, D"),
        ("B", 1, "B > A; left: C, D"),
        ("C", 3, "B > A = C; left: D"),
        ("D", 2, "B > D > A = C"),
    )
    for letter, rank, order in steps:
        drag(page, letter, f".tier-letters[data-rank='{rank}']")
        expect(words).to_have_text(order)
    drag(page, "C", ".tier-letters[data-rank='1']")
    expect(words).to_have_text("B = C > D > A")
    page.keyboard.press("Control+Enter")
    submitted(page)
    assert stored_ranks() == by_text(texts, B=1, C=1, D=2, A=3)


def test_touch_on_a_phone(browser: Browser, live_server: str, labeler: Person, project: Project) -> None:
    """At 380 px, by tapping a letter at the foot and then the rank it goes to."""
    open_items(project, completions=5)
    page = open_phone(browser, live_server, labeler)
    page.goto(f"/p/{project.slug}/desk")
    texts = seen(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 380
    for letter, rank in (("A", 1), ("B", 2), ("C", 3), ("D", 4), ("E", 1)):
        page.locator(f".order button.letter[data-letter={letter}]").tap()
        page.locator(f"#tiers li:nth-child({rank}) .at").tap()
    page.get_by_role("button", name="Submit").tap()
    submitted(page)
    page.context.close()
    assert stored_ranks() == by_text(texts, A=1, E=1, B=2, C=3, D=4)


def test_dragging_by_finger(browser: Browser, live_server: str, labeler: Person, project: Project) -> None:
    open_items(project, completions=2)
    page = open_phone(browser, live_server, labeler)
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"/p/{project.slug}/desk")
    texts = seen(page)
    finger = page.context.new_cdp_session(page)

    def touch(kind: str, x: float = 0, y: float = 0) -> None:
        points = [] if kind == "touchEnd" else [{"x": x, "y": y}]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    for letter, rank, words in (("A", 2, "A; left: B"), ("B", 1, "B > A")):
        start = page.locator(f".order button.letter[data-letter={letter}]").bounding_box()
        end = page.locator(f".tier-letters[data-rank='{rank}']").bounding_box()
        assert start
        assert end
        x, y = start["x"] + start["width"] / 2, start["y"] + start["height"] / 2
        to_x, to_y = end["x"] + end["width"] - 6, end["y"] + end["height"] / 2
        touch("touchStart", x, y)
        for step in range(1, 11):
            touch("touchMove", x + (to_x - x) * step / 10, y + (to_y - y) * step / 10)
        touch("touchMove", to_x + 2, to_y)
        touch("touchEnd")
        expect(page.locator("#order-words")).to_have_text(words)
    page.get_by_role("button", name="Submit").tap()
    submitted(page)
    page.context.close()
    assert stored_ranks() == by_text(texts, B=1, A=2)


def test_rating_by_shift_and_digit(desk: Desk, project: Project) -> None:
    open_items(project)
    page = desk()
    texts = seen(page)
    for key in ("b", "Shift+Digit7", "1", "a", "Shift+Digit2", "2", "c", "3", "d", "3"):
        page.keyboard.press(key)
    page.keyboard.press("Control+Enter")
    submitted(page)
    with reading() as session:
        query = select(Completion.text, Rating.likert).join(Rating, Rating.completion_id == Completion.id)
        stored = dict(session.execute(query).all())
    assert stored == {texts["A"]: {"overall": 2}, texts["B"]: {"overall": 7}}


def test_with_nine_completions_g_is_a_completion(desk: Desk, project: Project) -> None:
    open_items(project, completions=9)
    page = desk()
    for place, letter in enumerate("abcdefghi", start=1):
        page.keyboard.press(letter)
        page.keyboard.press(str(place))
    expect(page.locator("#left-words")).to_have_text("A > B > C > D > E > F > G > H > I")
    expect(page.locator("#guidelines")).to_be_hidden()
    page.keyboard.press("Shift+G")
    expect(page.locator("#guidelines")).to_be_visible()


def test_guidelines_and_keys_open_and_close_by_key(desk: Desk, project: Project) -> None:
    open_items(project)
    page = desk()
    for key, name in (("g", "Guidelines"), ("?", "Keys"), ("s", "Skip this item")):
        page.keyboard.press(key)
        expect(page.get_by_role("dialog", name=name)).to_be_visible()
        page.keyboard.press("1")
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog", name=name)).to_be_hidden()
    expect(page.locator("#order-words")).to_have_text("left: A, B, C, D")


def test_keys_do_nothing_while_a_note_is_written(desk: Desk, project: Project) -> None:
    open_items(project)
    page = desk()
    page.keyboard.press("n")
    page.keyboard.type("1 s x u and so on")
    assert page.locator("textarea[name=note]").input_value() == "1 s x u and so on"
    expect(page.locator("#order-words")).to_have_text("left: A, B, C, D")
    page.keyboard.press("Escape")
    page.keyboard.press("x")
    page.keyboard.press("Shift+X")
    expect(page.locator("#left-words")).to_have_text("Cannot be ranked")
    page.keyboard.press("Control+Enter")
    submitted(page)
    expect(page.locator(".receipt")).to_contain_text("cannot be ranked")
    assert stored_ranks() == {}
    with reading() as session:
        ranking = session.scalars(select(Ranking)).one()
    assert (ranking.cannot_rank, ranking.all_bad, ranking.note) == (True, True, "1 s x u and so on")
    assert ranking.order_touched is False


def test_skip_by_keyboard_with_a_reason(desk: Desk, project: Project) -> None:
    open_items(project)
    page = desk()
    page.keyboard.press("s")
    page.get_by_label("The prompt is unsafe or disturbing").check()
    page.get_by_role("button", name="Skip it").click()
    expect(page.get_by_role("heading", name="Nothing to label yet")).to_be_visible()
    with reading() as session:
        assignment = session.scalars(select(Assignment)).one()
    assert assignment.state == AssignmentState.skipped
    assert assignment.skip_reason == "The prompt is unsafe or disturbing"


def test_without_javascript(browser: Browser, live_server: str, labeler: Person, project: Project) -> None:
    open_items(project)
    with writing() as session:
        token = accounts.start_session(session, labeler)
    context = browser.new_context(java_script_enabled=False, base_url=live_server)
    context.add_cookies([{"name": COOKIE, "value": token, "url": live_server}])
    page = context.new_page()
    page.goto(f"/p/{project.slug}/desk")
    texts = seen(page)
    page.get_by_label("A at rank 1", exact=True).check()
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert")).to_contain_text("Not ranked yet: B, C, D.")
    assert page.get_by_label("A at rank 1", exact=True).is_checked()
    for letter, rank in (("B", 2), ("C", 2), ("D", 4)):
        page.get_by_label(f"{letter} at rank {rank}", exact=True).check()
    page.get_by_role("button", name="Submit").click()
    expect(page.locator(".receipt")).to_contain_text("A > B = C > D")
    context.close()
    assert stored_ranks() == by_text(texts, A=1, B=2, C=2, D=3)


def test_two_browsers_racing_for_one_item(
    browser: Browser, live_server: str, browse_as: BrowseAs, labeler: Person, project: Project
) -> None:
    open_items(project)
    with writing() as session:
        token = accounts.start_session(session, make_person(session, project=project))
    context = browser.new_context(base_url=live_server)
    context.add_cookies([{"name": COOKIE, "value": token, "url": live_server}])
    first, second = browse_as(labeler), context.new_page()
    for page in (first, second):
        page.evaluate("address => { location.assign(address) }", f"{live_server}/p/{project.slug}/desk")
    for page in (first, second):
        page.wait_for_selector("main h1")
    headings = sorted(page.locator("main h1").inner_text() for page in (first, second))
    context.close()
    assert headings == ["Nothing is free for you just now", "Rank the completions"]


def order_by(page: Page, way: str, ranks: dict[str, int]) -> None:
    if way == "compare":
        page.keyboard.press("v")
        while page.locator("#compare").is_visible():
            left, right = page.locator("#compare .pane .letter").all_inner_texts()
            by = ranks[left] - ranks[right]
            page.keyboard.press("ArrowLeft" if by < 0 else "ArrowRight" if by > 0 else "0")
        return
    for letter, rank in ranks.items():
        if way == "keys":
            page.keyboard.press(letter.lower())
            page.keyboard.press(str(rank))
        else:
            page.get_by_label(f"{letter} at rank {rank}", exact=True).click()


def test_whatever_order_ties_shuffle_and_way_the_stored_ranks_are_the_ones_shown(desk: Desk, project: Project) -> None:
    numbers = itertools.count()

    @settings(max_examples=6, deadline=None, derandomize=True)
    @given(
        drawn=st.lists(st.integers(1, 9), min_size=2, max_size=9), way=st.sampled_from(["keys", "buttons", "compare"])
    )
    def check(drawn: list[int], way: str) -> None:
        open_items(project, texts=[f"Story {next(numbers)}." for _ in drawn])
        page = desk()
        texts = seen(page)
        tiers = sorted(set(drawn))
        ranks = {letter: tiers.index(rank) + 1 for letter, rank in zip(texts, drawn, strict=True)}
        order_by(page, way, ranks)
        words = " > ".join(
            " = ".join(each for each in ranks if ranks[each] == rank) for rank in range(1, len(tiers) + 1)
        )
        expect(page.locator("#left-words")).to_have_text(words)
        page.keyboard.press("Control+Enter")
        expect(page.locator(".receipt b")).to_have_text(words)
        stored = stored_ranks()
        assert {text: stored[text] for text in texts.values()} == by_text(texts, **ranks)

    check()
