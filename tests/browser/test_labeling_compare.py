"""Compare mode: two by two, the fewest questions, ties; the order that comes out is the one that is stored."""

import random

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select, update

from app.accounts.models import Person
from app.core.db import reading, writing
from app.labeling.models import Assignment, Ranking
from app.projects.models import Project
from app.prompts.models import Prompt
from tests.browser.ranking_desk import Desk, by_text, open_items, open_phone, seen, stored_ranks, submitted

# The most questions that merge insertion needs (Knuth, volume 3, section 5.3.1).
MOST_QUESTIONS = {2: 1, 3: 3, 4: 5, 5: 7, 6: 10, 7: 13, 8: 16, 9: 19}

# Sorts every order with ties of up to `all` letters, every strict order of `all + 1` and `all + 2`, and a sample of
# those with ties; gives the most questions for each number of letters.
BRUTE_FORCE = """async ([all, seed]) => {
  const { sorted } = await import("/static/js/merge_insertion.js");
  const names = [..."ABCDEFGHI"];
  const most = {};
  const check = (ranks) => {
    let asked = 0;
    const tiers = sorted(names.slice(0, ranks.length), (x, y) => {
      asked += 1;
      const by = ranks[names.indexOf(x)] - ranks[names.indexOf(y)];
      return by < 0 ? "left" : by > 0 ? "right" : "tie";
    });
    const found = ranks.map((_, index) => tiers.findIndex((tier) => tier.includes(names[index])));
    if (String(found) !== String(ranks)) throw new Error(`${ranks} came out as ${found}`);
    most[ranks.length] = Math.max(most[ranks.length] ?? 0, asked);
  };
  const each = (size, isStrict, ranks = [], tiers = 0) => {
    if (ranks.length === size) return check(ranks);
    if (!isStrict) for (let rank = 0; rank < tiers; rank += 1) each(size, isStrict, [...ranks, rank], tiers);
    for (let rank = 0; rank <= tiers; rank += 1) {
      each(size, isStrict, [...ranks.map((one) => one + (one >= rank)), rank], tiers + 1);
    }
  };
  let state = seed;
  const random = (below) => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return Math.floor((state / 2147483648) * below);
  };
  const sample = (size) => {
    const drawn = Array.from({ length: size }, () => random(size));
    const tiers = [...new Set(drawn)].sort((a, b) => a - b);
    check(drawn.map((rank) => tiers.indexOf(rank)));
  };
  for (let size = 2; size <= all; size += 1) each(size, false);
  for (const size of [all + 1, all + 2]) {
    each(size, true);
    for (let count = 0; count < 20000; count += 1) sample(size);
  }
  return most;
}"""


def test_every_order_is_found_and_no_question_is_wasted(page: Page) -> None:
    page.set_default_timeout(120_000)
    page.goto("/sign-in")
    most = page.evaluate(BRUTE_FORCE, [7, 12])
    assert {int(size): asked for size, asked in most.items()} == MOST_QUESTIONS


def question(page: Page) -> tuple[str, str]:
    left, right = page.locator("#compare .pane .letter").all_inner_texts()
    return left, right


def answer_all(page: Page, ranks: dict[str, int], keys: tuple[str, str, str]) -> int:
    """Answer by these keys (left, tie, right) until the order is there; gives the number of questions."""
    asked = 0
    while page.locator("#compare").is_visible():
        left, right = question(page)
        expect(page.locator("#compare-progress")).to_contain_text(f"Question {asked + 1} of about")
        by = ranks[left] - ranks[right]
        page.keyboard.press(keys[0] if by < 0 else keys[2] if by > 0 else keys[1])
        asked += 1
    return asked


@pytest.mark.parametrize(
    ("count", "keys"), [(4, ("ArrowLeft", "0", "ArrowRight")), (9, ("1", "=", "2"))], ids=["arrows", "digits"]
)
def test_answers_by_keys_end_in_the_stored_rows(
    desk: Desk, project: Project, count: int, keys: tuple[str, str, str]
) -> None:
    open_items(project, completions=count)
    page = desk()
    texts = seen(page)
    ranks = {letter: random.Random(count).randint(1, count - 1) for letter in texts}
    ranks = {letter: sorted(set(ranks.values())).index(rank) + 1 for letter, rank in ranks.items()}
    page.keyboard.press("v")
    asked = answer_all(page, ranks, keys)
    assert asked <= MOST_QUESTIONS[count]
    expect(page.locator("#submit")).to_be_enabled()
    page.keyboard.press("Control+Enter")
    submitted(page)
    assert stored_ranks() == by_text(texts, **ranks)
    with reading() as session:
        ranking = session.scalars(select(Ranking)).one()
    assert (ranking.comparisons, ranking.order_touched) == (asked, True)


def test_answers_by_buttons_and_the_order_can_still_be_changed(desk: Desk, project: Project) -> None:
    open_items(project, completions=2)
    page = desk()
    texts = seen(page)
    page.get_by_role("button", name="Compare two by two").click()
    page.get_by_role("button", name="B is better").click()
    expect(page.locator("#left-words")).to_have_text("B > A")
    page.keyboard.press("u")
    expect(page.locator("#order-words")).to_have_text("left: A, B")
    page.keyboard.press("Control+Enter")  # nothing is handed in while ranks are missing
    page.get_by_role("button", name="Compare two by two").click()
    expect(page.locator("#compare-progress")).to_have_text("Every question is answered.")
    page.get_by_role("button", name="Start over").click()
    page.get_by_role("button", name="A tie").click()
    expect(page.locator("#left-words")).to_have_text("A = B")
    page.get_by_label("B at rank 2", exact=True).click()
    page.get_by_role("button", name="Submit").click()
    submitted(page)
    assert stored_ranks() == by_text(texts, A=1, B=2)


def test_answers_by_touch_on_a_phone(browser: Browser, live_server: str, labeler: Person, project: Project) -> None:
    open_items(project, completions=4)
    page = open_phone(browser, live_server, labeler)
    page.goto(f"/p/{project.slug}/desk")
    texts = seen(page)
    page.get_by_role("button", name="Compare two by two").tap()
    while page.locator("#compare").is_visible():
        assert page.evaluate("document.documentElement.scrollWidth") == 380
        page.get_by_role("button", name=f"{max(question(page))} is better").tap()
    page.get_by_role("button", name="Submit").tap()
    submitted(page)
    page.context.close()
    assert stored_ranks() == by_text(texts, D=1, C=2, B=3, A=4)


def test_an_answer_is_undone(desk: Desk, project: Project) -> None:
    open_items(project)
    page = desk()
    page.keyboard.press("v")
    first = question(page)
    for undo in ("u", "Control+z", "Backspace"):
        page.keyboard.press("ArrowLeft")
        assert question(page) != first
        page.keyboard.press(undo)
        assert question(page) == first
    expect(page.locator("#take-back")).to_be_disabled()
    page.keyboard.press("Escape")
    expect(page.locator("#compare")).to_be_hidden()
    expect(page.locator("#order-words")).to_have_text("left: A, B, C, D")


def test_whoever_comes_back_goes_on_where_they_were(desk: Desk, project: Project) -> None:
    open_items(project, completions=5)
    page = desk()
    page.keyboard.press("v")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    third = question(page)
    expect(page.locator("#draft-state")).to_have_text("Draft saved")
    with reading() as session:
        draft = session.scalars(select(Assignment.draft)).one()
    assert draft
    assert [answer["better"] for answer in draft["compared"]] == ["left", "right"]
    page.reload()
    page.wait_for_selector("#tiers .tier")
    page.keyboard.press("v")
    assert question(page) == third
    expect(page.locator("#compare-progress")).to_contain_text("Question 3 of about 7")


def marked(page: Page) -> list[str]:
    words: list[str] = page.evaluate("[...(CSS.highlights.get('only-here') ?? [])].map(String)")
    return words


def test_words_that_only_one_has_are_marked_in_both_views(desk: Desk, project: Project) -> None:
    story = "The **dog** ran home. It was {} and it slept."
    open_items(project, texts=[story.format("late"), story.format("very early")])
    page = desk()
    page.keyboard.press("v")
    assert sorted(marked(page)) == ["late", "very early"]
    expect(page.locator("#compare-hint")).to_contain_text("Marked words:")
    expect(page.locator("#compare .pane strong").first).to_have_text("dog")
    page.keyboard.press("r")
    assert sorted(marked(page)) == ["late", "very early"]
    expect(page.locator("#compare .pane .exact").first).to_contain_text("**dog**")


def test_texts_with_little_in_common_are_not_painted_over(desk: Desk, project: Project) -> None:
    open_items(project, texts=["Rex ran to the sea.", "Nobody knows why " * 4_000])
    page = desk()
    page.keyboard.press("v")
    assert marked(page) == []
    expect(page.locator("#compare-hint")).to_contain_text("they share few words")


def test_what_is_covered_stays_covered_side_by_side(desk: Desk, project: Project) -> None:
    open_items(project)
    with writing() as session:
        session.execute(update(Prompt).values(flags=["violence"]))
    page = desk()
    page.keyboard.press("v")
    expect(page.locator("#compare .pane .text").first).to_be_hidden()
    page.get_by_text("Show it").click()
    expect(page.locator("#compare .pane .text").first).to_be_visible()


def test_a_correction_keeps_how_the_order_came_about(desk: Desk, project: Project) -> None:
    """The receipt leads to what is stored, which is corrected: a new row, and the first one stays."""
    open_items(project)
    page = desk()
    texts = seen(page)
    page.keyboard.press("v")
    asked = answer_all(page, {"A": 1, "B": 2, "C": 2, "D": 3}, ("ArrowLeft", "0", "ArrowRight"))
    expect(page.locator("#draft-state")).to_have_text("Draft saved")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".receipt b")).to_have_text("A > B = C > D")
    page.get_by_role("link", name="Undo or correct it").click()
    page.wait_for_url("**/amend")
    expect(page.locator("#left-words")).to_have_text("A > B = C > D")
    page.keyboard.press("n")
    page.keyboard.type("A is clearly the best.")
    page.get_by_role("button", name="Correct it").click()
    submitted(page)
    with reading() as session:
        first, second = session.scalars(select(Ranking).order_by(Ranking.created_at)).all()
    assert (second.supersedes_id, second.note) == (first.id, "A is clearly the best.")
    assert [(each.comparisons, each.order_touched) for each in (first, second)] == [(asked, True)] * 2
    assert stored_ranks() == by_text(texts, A=1, B=2, C=2, D=3)
