"""What labelers read: Markdown made safe, raw at hand, long texts folded; hostile texts harmless."""

import pytest
from playwright.sync_api import Page, expect

from app.projects.models import Project
from tests.browser.ranking_desk import Desk, by_text, open_items, seen, stored_ranks, submitted

LONG = "Then the dog went on. " * 200
HOSTILE = [
    "<script>alert(1)</script><style>*{display:none}</style><svg/onload=alert(1)>",
    "<img src=https://evil.example/a.png onerror=alert(1)> ![x](https://evil.example/b.png)",
    "[click](javascript:alert(1)) [me](https://evil.example/c) <https://evil.example/d>",
    "</div></article></form><form action=https://evil.example><button>Submit</button>",
    "safe\u202eevil\u202c \u2066left\u200b\u200b\u200b to right",
    "\u200b" * 5_000 + "\u0300" * 500,
    "w" * 100_000,
    "|a|" * 2_000 + "\n" + "|-|" * 2_000,
]


def watch(page: Page) -> list[str]:
    """What should never be: a dialog, a request to elsewhere, a word from the content security policy."""
    seen: list[str] = []

    def dismiss(dialog: object) -> None:
        seen.append("dialog")
        dialog.dismiss()  # type: ignore[attr-defined]

    page.on("dialog", dismiss)
    page.on("request", lambda request: seen.append(request.url) if "127.0.0.1" not in request.url else None)
    page.on("console", lambda message: seen.append(message.text) if "Content Security" in message.text else None)
    return seen


@pytest.mark.parametrize("width", [1440, 380])
def test_hostile_completions_are_shown_harmlessly(desk: Desk, project: Project, width: int) -> None:
    open_items(project, texts=HOSTILE, prompt="\n\n".join(HOSTILE[:6]))
    page = desk()
    happened = watch(page)
    page.set_viewport_size({"width": width, "height": 900})
    page.reload()
    page.wait_for_selector("#tiers .tier")
    for key in ("o", "r", "o"):
        page.keyboard.press(key)
        assert page.evaluate("document.documentElement.scrollWidth") == width, "nothing is wider than the window"
    foreign = page.locator(".text").locator("a, img, script, style, svg, form, button, iframe, input, [onerror]")
    assert foreign.count() == 0
    for place, letter in enumerate("abcdefgh", start=1):
        page.keyboard.press(letter)
        page.keyboard.press(str(place))
    page.keyboard.press("Control+Enter")
    submitted(page)
    assert happened == []
    assert set(stored_ranks().values()) == set(range(1, 9))


def test_a_word_of_100_kb_is_painted_soon(desk: Desk, project: Project) -> None:
    open_items(project, texts=["w" * 100_000] * 9)
    page = desk()
    paint = page.evaluate(
        "performance.getEntriesByType('paint').find(each => each.name === 'first-contentful-paint').startTime"
    )
    print(f"first paint after {paint:.0f} ms")
    assert paint < 5_000


def test_a_text_cannot_turn_what_is_around_it(desk: Desk, project: Project) -> None:
    """An override that is never closed ends with its text, in both views."""
    open_items(project, texts=["\u202eabc", "def"])
    page = desk()
    for selector in (".rendered", ".exact"):
        styles = page.locator(selector).evaluate_all("all => all.map(each => getComputedStyle(each).unicodeBidi)")
        assert set(styles) == {"isolate"}


def test_raw_shows_every_character_and_is_remembered(desk: Desk, project: Project) -> None:
    text = "# Title\n\nA *dog* and a\u200bcat\u202e."
    open_items(project, texts=[text, "Plain."], prompt="Say **hi**.")
    page = desk()
    letter = next(letter for letter, words in seen(page).items() if "Title" in words)
    shown = page.locator(f"#completion-{letter} .text")
    expect(shown.locator("h3")).to_have_text("Title")
    expect(page.locator(f"#completion-{letter}")).to_contain_text("2 characters that cannot be seen")
    page.keyboard.press("r")
    assert shown.inner_text() == "# Title\n\nA *dog* and aZWSPcatRLO."
    assert page.locator(".prompt .text").inner_text() == "Say **hi**."
    expect(shown.locator(".unseen").first).to_have_attribute("title", "U+200B zero width space")
    page.reload()
    page.wait_for_selector("#tiers .tier")
    assert shown.inner_text() == "# Title\n\nA *dog* and aZWSPcatRLO.", "raw again, as it was left"
    page.keyboard.press("r")
    expect(shown.locator("h3")).to_be_visible()
    expect(page.locator("#draft-state")).to_be_hidden()


def test_long_completions_fold_at_one_height(desk: Desk, project: Project) -> None:
    open_items(project, texts=[LONG, LONG * 3, "Short.", LONG * 2])
    page = desk()
    texts = page.locator("article.completion .text")
    heights = lambda: [round(height) for height in texts.evaluate_all("all => all.map(each => each.clientHeight)")]  # noqa: E731
    expect(page.get_by_role("button", name="Show all", exact=True)).to_have_count(3)
    long = [index for index, words in enumerate(seen(page).values()) if words != "Short."]
    assert {heights()[index] for index in long} == {340}
    article = page.locator("article.completion").nth(long[0])
    article.get_by_role("button", name="Show all").click()
    assert [height > 340 for height in map(heights().__getitem__, long)] == [True, False, False]
    article.get_by_role("button", name="Fold").click()
    page.keyboard.press("o")
    assert all(heights()[index] > 340 for index in long)
    page.mouse.wheel(0, 600)
    expect(page.locator(".prompt .text")).to_be_in_viewport()
    page.reload()
    page.wait_for_selector("#tiers .tier")
    expect(page.locator("#open-all")).to_have_text("Fold all O")
    page.keyboard.press("o")
    assert {heights()[index] for index in long} == {340}


def test_short_completions_offer_nothing_to_unfold(desk: Desk, project: Project) -> None:
    open_items(project)
    page = desk()
    expect(page.locator("#open-all")).to_be_hidden()
    expect(page.locator(".show-all:visible")).to_have_count(0)
    texts = seen(page)
    for key in ("a", "1", "b", "1", "c", "1", "d", "1", "Control+Enter"):
        page.keyboard.press(key)
    submitted(page)
    assert stored_ranks() == by_text(texts, A=1, B=1, C=1, D=1)


@pytest.mark.parametrize("width", [1440, 800, 380])
def test_the_prompt_stays_in_sight_beside_what_is_framed(desk: Desk, project: Project, width: int) -> None:
    open_items(project, texts=[LONG] * 4, prompt="Write about a dog. " * 100)
    page = desk()
    page.set_viewport_size({"width": width, "height": 760})
    page.emulate_media(reduced_motion="reduce")
    page.keyboard.press("d")
    expect(page.locator("#prompt-title")).to_be_in_viewport()
    expect(page.locator(".prompt .text")).to_be_in_viewport()
    head = page.locator("#completion-D > header")
    expect(head).to_be_in_viewport(ratio=1)
    box = head.bounding_box()
    assert box
    point = [box["x"] + 20, box["y"] + 20]
    assert head.evaluate("(head, [x, y]) => head.contains(document.elementFromPoint(x, y))", point), (
        "nothing lies over the framed completion's head"
    )
