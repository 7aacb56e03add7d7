"""Runs in a real browser: live curves, the form's errors, stop and continue, narrow and without scripts."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from app.accounts import service as accounts
from app.accounts.deps import COOKIE
from app.accounts.models import Person
from app.core.db import writing
from app.projects.models import Project
from app.registry.models import Model, ModelKind
from app.runs import service, workers
from app.runs.configs import RunKind
from app.runs.models import Run
from app.runs.service import Written
from app.runs.workers import Device
from tests.app.runs.rows import make_run, make_starter
from tests.browser.axe import serious_faults
from tests.factories import make_model

BrowseAs = Callable[[Person], Page]


@pytest.fixture
def base(project: Project, admin: Person) -> Model:
    with writing() as session:
        return make_starter(session, project, admin)


@pytest.fixture
def run(project: Project, base: Model) -> Run:
    """A PPO run in the middle, on a worker that beats."""
    with writing() as session:
        queued = make_run(session, project, kind=RunKind.ppo, name="ppo-round-1", model=base)
        run = service.claim(session, queued.id, worker="box-1")
        assert run is not None
        workers.report(session, "box-1", device=Device("cpu"), run_id=run.id)
    for step in range(1, 4):
        _step(run, step)
    return run


def _step(run: Run, step: int) -> None:
    with writing() as session:
        service.record_step(
            session,
            run.id,
            claim=str(run.claimed_by),
            step=step,
            total=20,
            metrics={"reward": step / 10, "reward_watch": step / 20, "kl": step * 0.3, "length": 40.0, "entropy": 2.0},
            samples=[Written("Write about a dog.", "A dog.", f"A dog, told at step {step}.", 0.1, 0.4)],
            checkpointed=True,
        )


def test_a_runs_page_follows_it_to_its_end(browse_as: BrowseAs, admin: Person, project: Project, run: Run) -> None:
    page = browse_as(admin)
    page.goto(f"/p/{project.slug}/runs/{run.id}")
    expect(page.get_by_text("Step 3 of 20")).to_be_visible()
    expect(page.get_by_role("heading", name="Reward against √KL")).to_be_visible()
    expect(page.locator("run-curves canvas")).to_have_count(5)
    _step(run, 4)
    expect(page.get_by_text("Step 4 of 20")).to_be_visible()
    expect(page.get_by_text("told at step 4")).to_be_visible()
    expect(page.get_by_text("+0.30")).to_be_visible()
    with writing() as session:
        service.fail(session, run.id, claim=str(run.claimed_by), reason="The loss is nan.")
    expect(page.get_by_role("alert")).to_contain_text("The checkpoint at step 4 is kept")
    expect(page.get_by_role("button", name="Continue")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_preset_is_filled_in_and_keeps_the_name(
    browser: Browser, live_server: str, admin: Person, project: Project, base: Model, scripts: bool
) -> None:
    with writing() as session:
        token = accounts.start_session(session, admin)
    context = browser.new_context(
        base_url=live_server, java_script_enabled=scripts, viewport={"width": 1440, "height": 900}
    )
    context.add_cookies([{"name": COOKIE, "value": token, "url": live_server}])
    page = context.new_page()
    page.goto(f"/p/{project.slug}/runs/new/sft")
    page.get_by_label("Name").fill("start-of-ppo")
    page.get_by_label("Epochs").fill("77")
    page.get_by_label("Epochs").press("Enter")
    expect(page.get_by_label("Epochs")).to_have_value("77")
    page.get_by_label("Fill in", exact=True).select_option("The paper's 6B: initial policy for RL (C.3)")
    page.get_by_role("button", name="Fill in these values").press("Enter")
    expect(page.get_by_label("Epochs")).to_have_value("2")
    expect(page.get_by_label("Learning rate", exact=True)).to_have_value("1.04e-05")
    expect(page.get_by_label("Name")).to_have_value("start-of-ppo")
    expect(page.get_by_text("The paper's value (C.3).").first).to_be_visible()
    context.close()


def test_curves_are_drawn_in_the_colours_of_the_look(
    browse_as: BrowseAs, admin: Person, project: Project, run: Run
) -> None:
    page = browse_as(admin)
    page.emulate_media(color_scheme="dark")
    page.goto(f"/p/{project.slug}/runs/{run.id}")
    expect(page.locator("run-curves canvas").first).to_be_visible()
    drawn = (
        page.locator("run-curves canvas")
        .nth(1)
        .evaluate(
            """canvas => {
          const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          const accent = [138, 176, 255, 255];
          for (let i = 0; i < pixels.length; i += 4)
            if (accent.every((part, j) => pixels[i + j] === part)) return true;
          return false;
        }"""
        )
    )
    assert drawn, "no pixel has the accent of the dark look"


def test_an_admin_stops_and_continues(browse_as: BrowseAs, admin: Person, project: Project, run: Run) -> None:
    page = browse_as(admin)
    page.goto(f"/p/{project.slug}/runs/{run.id}")
    page.get_by_role("button", name="Stop and keep checkpoint").click()
    expect(page.get_by_role("button", name="Stopping after this step")).to_be_disabled()
    with writing() as session:
        service.stop(session, run.id, claim=str(run.claimed_by), step=3)
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("Queued")).to_be_visible()


def test_a_wrong_setting_is_shown_where_it_stands(
    browse_as: BrowseAs, admin: Person, project: Project, base: Model
) -> None:
    page = browse_as(admin)
    page.goto(f"/p/{project.slug}")
    page.get_by_role("link", name="Train…").click()
    page.get_by_label("Epochs").fill("0")
    page.get_by_label("Seed").fill("42")
    page.get_by_role("button", name="Start the run").click()
    expect(page.get_by_label("Epochs")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("At least 1.", exact=True)).to_be_visible()
    expect(page.get_by_label("Seed")).to_have_value("42")
    page.get_by_label("Epochs").fill("2")
    page.get_by_role("button", name="Start the run").click()
    expect(page.get_by_role("heading", name="sft-round-1")).to_be_visible()


def test_a_new_runs_form_says_how_much_there_is_to_read(
    browse_as: BrowseAs, admin: Person, project: Project, base: Model
) -> None:
    page = browse_as(admin)
    page.route("**/runs/new/sft?figures=true", lambda route: route.abort("internetdisconnected"))
    page.goto(f"/p/{project.slug}/runs/new/sft")
    page.get_by_label("Epochs").fill("7")
    expect(page.get_by_role("alert")).to_contain_text("that did not come")
    page.unroute("**/runs/new/sft?figures=true")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#counts")).to_contain_text("There are now: demonstrations")
    expect(page.get_by_label("Epochs")).to_have_value("7")
    assert serious_faults(page) == []


@pytest.mark.parametrize("path", ["", "/runs", "/runs/new/ppo", "/models", "/runs/{run}"])
def test_pages_fit_a_narrow_screen(browse_as: BrowseAs, admin: Person, project: Project, run: Run, path: str) -> None:
    with writing() as session:
        make_model(session, project, kind=ModelKind.reward, name="a-reward-model-with-a-rather-long-name-of-its-own")
    page = browse_as(admin)
    page.set_viewport_size({"width": 380, "height": 800})
    page.goto(f"/p/{project.slug}{path.format(run=run.id)}")
    page.wait_for_load_state("networkidle") if "{run}" not in path else expect(
        page.locator("canvas").first
    ).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 380


def test_a_run_is_started_and_stopped_without_scripts(
    browser: Browser, live_server: str, admin: Person, project: Project, base: Model
) -> None:
    with writing() as session:
        token = accounts.start_session(session, admin)
    context = browser.new_context(base_url=live_server, java_script_enabled=False)
    context.add_cookies([{"name": COOKIE, "value": token, "url": live_server}])
    page = context.new_page()
    page.goto(f"/p/{project.slug}/runs/new/sft")
    page.get_by_role("button", name="Start the run").click()
    expect(page.get_by_role("heading", name="sft-round-1")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Stopped", exact=True)).to_be_visible()
    context.close()
