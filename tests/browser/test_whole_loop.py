"""The whole loop in one real browser: prompts in, demonstrations, SFT, rankings, reward model, PPO-ptx, export."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.ports import free_port
from tests.system.installation import PASSWORD, Installation

pytestmark = pytest.mark.train
STORY = "The little fox saw the moon in the river. It wanted to touch the moon, so it jumped. Splash! The fox laughed."
# Small on purpose: the proof is that every part hands on to the next, not that the result is good.
SHORT = {"Max completion tokens": "24", "Max prompt tokens": "96"}
MINUTES = 60_000


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Installation]:
    with Installation(tmp_path / "var", free_port(), TOUCHSTONE_STALE_AFTER_SECONDS="60") as here:
        yield here


def new_tab(browser: Browser, here: Installation, link: str) -> Page:
    """A browser of its own, signed in by a one-time link."""
    context: BrowserContext = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=here.address)
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.goto(link)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Set password and sign in").click()
    expect(page.get_by_role("button", name="Sign in")).to_have_count(0)
    return page


def set_fields(page: Page, fields: dict[str, str]) -> None:
    """Fill settings by their labels, opening the folded ones when one of them is asked for."""
    for label, value in fields.items():
        field = page.get_by_label(label, exact=True)
        if not field.is_visible():
            page.get_by_text("All settings").click()
        if field.evaluate("each => each.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)


def run(page: Page, kind: str, fields: dict[str, str]) -> None:
    """Start a run from its form and watch its page until it says that it succeeded."""
    page.goto(f"/p/starter/runs/new/{kind}")
    set_fields(page, fields)
    page.get_by_role("button", name="Start the run").click()
    expect(page.locator("main .chip", has_text="Done")).to_be_visible(timeout=8 * MINUTES)


def option(page: Page, label: str, text: str) -> None:
    """Choose the option of a select that starts with `text`."""
    select = page.get_by_label(label, exact=True)
    value = select.locator("option", has_text=text).first.get_attribute("value")
    assert value
    select.select_option(value)


def import_prompts(page: Page) -> None:
    page.goto("/p/starter/prompts/import")
    page.get_by_label("Or prompts").fill(
        "Write a story about a fox and the moon.\nWrite a story about a bee and a hat.\n"
    )
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_text("2 would be taken")).to_be_visible()
    page.get_by_role("button", name="Start the import").click()
    expect(page.get_by_text("2 prompts are in use")).to_be_visible(timeout=MINUTES)
    page.get_by_role("link", name="See the pool").click()
    expect(page.get_by_text("204 in the pool")).to_be_visible()


def open_demonstration_batch(page: Page) -> None:
    page.goto("/p/starter/labeling")
    page.get_by_role("link", name="New batch").first.click()
    page.get_by_label("How many prompts").fill("2")
    page.get_by_role("button", name="Ask for demonstrations").click()
    expect(page.get_by_text("0 of 2")).to_be_visible()


def invite_labeler(page: Page) -> str:
    """Invite a labeler to the project; returns the one-time link."""
    page.goto("/people")
    page.get_by_label("Name").fill("Lin")
    page.get_by_label("E-mail").fill("lin@example.org")
    page.get_by_role("checkbox").check()  # the only project
    page.get_by_role("button", name="Invite", exact=True).click()
    return page.locator("code.copyable").inner_text()


def write_demonstrations(page: Page, count: int) -> None:
    page.goto("/p/starter/desk")
    expect(page.get_by_role("heading", name="Before you begin")).to_be_visible()
    page.get_by_role("button", name="I have read them").press("Enter")
    for number in range(count):
        page.goto("/p/starter/desk")
        page.get_by_role("textbox").first.fill(f"{STORY} That was story {number}.")
        page.keyboard.press("Control+Enter")
        expect(page.get_by_text("You submitted a demonstration")).to_be_visible()


def rank_by_keyboard(page: Page) -> str:
    """Rank four completions without the mouse, two of them tied; returns what the page says was submitted."""
    page.goto("/p/starter/desk")
    expect(page.get_by_role("heading", name="Rank the completions")).to_be_attached()
    for keys in ("b1", "a2", "d2", "c3"):
        for key in keys:
            page.keyboard.press(key)
    page.keyboard.press("Control+Enter")
    receipt = page.get_by_text("You submitted").first
    expect(receipt).to_be_visible()
    return receipt.inner_text()


def download(page: Page, form: str, target: Path) -> Path:
    """Freeze the comparisons and take them away in one form, as JSONL."""
    page.goto("/p/starter/datasets")
    page.locator("select[name=kind]").select_option("comparisons")
    page.get_by_role("button", name="Freeze").click()
    row = page.get_by_role("row").filter(has=page.get_by_text(form, exact=True))
    with page.expect_download() as waiting:
        row.get_by_role("link", name="jsonl").first.click()
    waiting.value.save_as(target)
    return target


def test_people_make_a_better_model_and_back(browser: Browser, here: Installation, tmp_path: Path) -> None:
    from datasets import load_dataset

    admin = new_tab(browser, here, here.first_admin_link)

    # 1. An admin imports prompts; a labeler writes two demonstrations by hand.
    import_prompts(admin)
    open_demonstration_batch(admin)
    labeler = new_tab(browser, here, invite_labeler(admin))
    write_demonstrations(labeler, 2)

    # 2. SFT, then K = 4 completions of each of 12 prompts.
    run(admin, "sft", {"Epochs": "1", "Max completion tokens": "192"})
    run(admin, "sampling", {**SHORT, "Prompts": "12", "Completions per prompt": "4"})

    # 3. Two rankings by keyboard, ties among them; the rest by simulated labelers.
    for _ in range(2):
        assert "B > A = D > C" in rank_by_keyboard(labeler)
    assert "simulated labelers" in here.touchstone("simulate", "--labelers", "3", "--rankings", "10")

    # 4. The reward model, then PPO-ptx against it.
    run(admin, "reward_model", SHORT)
    run(
        admin,
        "ppo",
        {
            **SHORT,
            "Episodes": "32",
            "Batch size": "16",
            "Minibatch size": "16",
            "Micro batch size": "16",
            "ptx tokens": "32",
        },
    )

    # 5. Fresh completions of the policy are new assignments.
    admin.goto("/p/starter/runs/new/sampling")
    expect(admin.get_by_label("Model", exact=True).locator("option:checked")).to_contain_text("ppo-ptx-round-1")
    run(admin, "sampling", {**SHORT, "Prompts": "4", "Completions per prompt": "4"})
    labeler.goto("/p/starter/desk")
    expect(labeler.get_by_role("heading", name="Rank the completions")).to_be_attached()

    # 6. The comparisons load in `datasets` as they are.
    pairs = load_dataset(
        "json",
        data_files=str(download(admin, "preference", tmp_path / "pairs.jsonl")),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    assert {"prompt", "chosen", "rejected"} <= set(pairs.column_names)
    assert len(pairs) >= 10
    admin.goto("/p/starter")
    expect(admin.get_by_role("row").filter(has_text="6 PPO")).to_contain_text("Done")
