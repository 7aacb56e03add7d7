"""What is said of reward models, in a real browser: without faults of accessibility, and fit for a narrow screen."""

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
from app.runs.service import TrainedModel
from tests.app.runs.rows import make_run
from tests.browser.axe import serious_faults
from tests.factories import make_model

BrowseAs = Callable[[Person], Page]
PAIRS = (812, 640, 455, 300, 190, 122, 71, 40, 18, 7)
FIGURES = {
    "valid_accuracy": 0.574, "valid_accuracy_low": 0.538, "valid_accuracy_high": 0.609, "valid_pairs": 2655.0,
    "calibration_error": 0.064, "length_correlation": 0.61, "longer_wins_by_labelers": 0.553,
    "longer_wins_by_model": 0.742, "like_length_accuracy": 0.521, "bias": -0.43,
    "calibration": [{"predicted": 0.525 + 0.05 * i, "preferred": 0.51 + 0.035 * i, "pairs": float(pairs)}
                    for i, pairs in enumerate(PAIRS)],
}  # fmt: skip


@pytest.fixture
def reward_run(project: Project) -> Run:
    """A finished ensemble of two weak members."""
    with writing() as session:
        base = make_model(session, project, name="starter")
        run = make_run(session, project, kind=RunKind.reward_model, name="rm-round-1", model=base)
        claimed = service.claim(session, run.id, worker="box")
        assert claimed is not None
        first, second = (TrainedModel(ModelKind.reward, base.id, f"models/{n}", 4_700_000, 512, FIGURES) for n in "12")
        service.finish(session, run.id, claim=str(claimed.claimed_by), result={}, model=first, others=[second])
    return run


@pytest.fixture
def crossed(project: Project) -> Run:
    rows = [
        {"fold": fold, "seed": seed, "held_out_labelers_accuracy": 0.6 + fold / 90, "held_out_labelers_pairs": 310.0,
         "training_labelers_accuracy": 0.63 + fold / 100, "training_labelers_pairs": 1200.0}
        for seed in (1, 2, 3) for fold in (1, 2, 3, 4)
    ]  # fmt: skip
    result = {
        "held_out_labelers_accuracy": 0.62, "held_out_labelers_error": 0.004, "training_labelers_accuracy": 0.65,
        "training_labelers_error": 0.003, "trainings_table": rows,
        "groups": [{"fold": fold, "labelers": 1} for fold in (1, 2, 3, 4)],
    }  # fmt: skip
    with writing() as session:
        run = make_run(session, project, kind=RunKind.cross_validation, name="cross-validation-round-1")
        claimed = service.claim(session, run.id, worker="box")
        assert claimed is not None
        service.finish(session, run.id, claim=str(claimed.claimed_by), result=result)
    return run


def _has_no_fault(page: Page) -> None:
    assert serious_faults(page) == []
    page.set_viewport_size({"width": 380, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 380


def test_a_reward_models_calibration_warning_and_lengths(
    browse_as: BrowseAs, admin: Person, project: Project, reward_run: Run
) -> None:
    page = browse_as(admin)
    page.goto(f"/p/{project.slug}/runs/{reward_run.id}")
    expect(page.get_by_text("Not worth optimising yet.")).to_have_count(2)
    curve = page.locator(".judged svg").first
    box = curve.bounding_box()
    assert box is not None
    assert box["width"] > 200
    expect(curve.locator("circle")).to_have_count(10)
    page.locator(".judged details summary").first.press("Enter")
    expect(page.get_by_role("cell", name="52.5 %").first).to_be_visible()
    _has_no_fault(page)
    with writing() as session:
        model = session.query(Model).filter(Model.run_id == reward_run.id, Model.name == "rm-round-1-2").one()
    page.goto(f"/p/{project.slug}/models/{model.id}")
    expect(page.get_by_text("The longer one wins, says the model")).to_be_visible()
    _has_no_fault(page)


def test_a_cross_validations_table(browse_as: BrowseAs, admin: Person, project: Project, crossed: Run) -> None:
    page = browse_as(admin)
    page.goto(f"/p/{project.slug}/runs/{crossed.id}")
    expect(page.get_by_role("cell", name="62.0 ± 0.4 %")).to_be_visible()
    page.get_by_text("Every training").press("Enter")
    expect(page.get_by_role("cell", name="310").first).to_be_visible()
    _has_no_fault(page)


@pytest.mark.parametrize("kind", ["cross_validation", "reward_model"])
def test_the_forms(browse_as: BrowseAs, admin: Person, project: Project, kind: str) -> None:
    page = browse_as(admin)
    page.goto(f"/p/{project.slug}/runs/new/{kind}")
    expect(page.get_by_label("Ties")).to_have_value("drop")
    expect(page.get_by_label("Members" if kind == "reward_model" else "Folds")).to_be_visible()
    _has_no_fault(page)
