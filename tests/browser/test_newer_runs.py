"""DPO, RLOO and best-of-n in a real browser: asked for on a page, refused in words, watched on a page."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from app.accounts.models import Person
from app.core.db import writing
from app.projects.models import Project
from app.registry.models import Model, ModelKind
from app.runs import service
from app.runs.configs import RunKind
from app.runs.models import Run
from app.runs.service import Written
from tests.app.datasets.labels import make_ranking
from tests.app.runs.rows import make_run
from tests.factories import make_model, make_person

BrowseAs = Callable[[Person], Page]


@pytest.fixture
def sft(project: Project) -> Model:
    with writing() as session:
        model = make_model(session, project, kind=ModelKind.sft, name="sft-round-1")
        model.parameters, model.context = 4_700_000, 512
    return model


@pytest.fixture
def rankings(project: Project) -> None:
    with writing() as session:
        labeler = make_person(session, project=project)
        for _ in range(3):
            make_ranking(session, project, labeler, [1, 2, 2, 3])


@pytest.fixture
def dpo_run(project: Project, sft: Model) -> Run:
    """A DPO run in the middle."""
    with writing() as session:
        run = service.claim(session, make_run(session, project, kind=RunKind.dpo, model=sft).id, worker="box-1")
        assert run is not None
        for step in range(1, 5):
            metrics = {"loss": 0.69 - step / 50, "accuracy": 0.5 + step / 20, "margin": step / 10, "valid_loss": 0.66,
                       "chosen_change": -step / 5, "rejected_change": -step / 2, "valid_accuracy": 0.6}  # fmt: skip
            service.record_step(session, run.id, claim=str(run.claimed_by), step=step, total=20, metrics=metrics,
                                samples=[Written("Write about a dog.", "A dog.", "A dog who smiled.")])  # fmt: skip
    return run


def test_an_admin_asks_for_dpo_and_is_told_what_ipo_does_not_know(
    browse_as: BrowseAs, admin: Person, project: Project, sft: Model, rankings: None
) -> None:
    page = browse_as(admin)
    page.goto(f"/p/{project.slug}/runs")
    page.get_by_role("link", name="New: DPO…").click()
    expect(page.get_by_label("Start from")).to_have_value(str(sft.id))
    page.get_by_label("Loss", exact=True).select_option("ipo")
    page.get_by_label("Label smoothing").fill("0.1")
    page.get_by_role("button", name="Start the run").click()
    expect(page.get_by_text("Loss ipo knows no label_smoothing, but it is 0.1: set it to 0.")).to_be_visible()
    expect(page.get_by_label("Loss", exact=True)).to_have_value("ipo")
    page.get_by_label("Label smoothing").fill("0")
    page.get_by_role("button", name="Start the run").click()
    expect(page.get_by_role("heading", name="ipo-round-1")).to_be_visible()
    expect(page.get_by_text("IPO, round 1")).to_be_visible()


def test_a_dpo_runs_page_shows_both_sides_of_the_margin(
    browse_as: BrowseAs, admin: Person, project: Project, dpo_run: Run
) -> None:
    page = browse_as(admin)
    page.goto(f"/p/{project.slug}/runs/{dpo_run.id}")
    expect(page.get_by_role("heading", name="Change of log-probability, nats")).to_be_visible()
    expect(page.get_by_text("A dog who smiled.")).to_be_visible()


def test_what_the_best_of_n_is_worth_fits_a_narrow_screen(
    browse_as: BrowseAs, admin: Person, project: Project, sft: Model
) -> None:
    with writing() as session:
        run = make_run(session, project, kind=RunKind.sampling, name="completions", model=sft)
        claimed = service.claim(session, run.id, worker="box-1")
        assert claimed is not None
        points = [[1, -0.31, 0.0], [2, 0.02, 0.193], [4, 0.27, 0.636], [8, 0.44, 1.204], [16, 0.53, 1.835]]
        best_of = [{"model": "sft-round-1", "kept_of": 4, "points": points}]
        service.record_step(session, run.id, claim=str(claimed.claimed_by), step=1, total=1, metrics={"reward": -0.31})
        service.finish(session, run.id, claim=str(claimed.claimed_by), result={"best_of": best_of})
    page = browse_as(admin)
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 380, "height": 800})
    page.goto(f"/p/{project.slug}/runs/{run.id}")
    expect(page.get_by_role("heading", name="Best of n: sft-round-1")).to_be_visible()
    expect(page.get_by_role("img", name="Mean reward of the best of n completions of sft-round-1")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
