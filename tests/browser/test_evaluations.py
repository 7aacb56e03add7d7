"""Evaluations in the browser: from choosing the judgments to the finished figure, on a wide and a narrow page."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from app.accounts.models import Group, Person
from app.core.db import writing
from app.projects.models import Project
from app.registry.models import ModelKind
from tests.app.evals.test_service import rank
from tests.browser.axe import serious_faults
from tests.factories import make_model, make_person

BrowseAs = Callable[[Person], Page]
KINDS = {"base": ModelKind.base, "SFT": ModelKind.sft, "PPO": ModelKind.policy, "PPO-ptx": ModelKind.policy}
PNG = b"\x89PNG\r\n"


@pytest.fixture
def judged(project: Project) -> None:
    """Four models on twelve prompts, by three labelers, one of them held out."""
    with writing() as session:
        models = {name: make_model(session, project, kind=kind, name=name) for name, kind in KINDS.items()}
        people = [
            make_person(session, project=project, group=group) for group in (*[Group.training] * 2, Group.held_out)
        ]
        for number in range(12):
            ranks = [4, 3, 1 + number % 2, 2 - number % 2] if number % 4 else [1, 1, 2, 3]
            rank(session, project, people[number % 3], dict(zip(models.values(), ranks, strict=True)))


@pytest.mark.usefixtures("judged")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 380)])
def test_from_choosing_the_baseline_to_the_figure_as_a_file(
    browse_as: BrowseAs, researcher: Person, project: Project, tmp_path: Path, scheme: str, width: int
) -> None:
    page = browse_as(researcher)
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"/p/{project.slug}/evaluations")
    expect(page.get_by_role("heading", name="Preferred over SFT")).to_be_visible()
    page.get_by_role("combobox", name="Baseline").select_option("base")
    page.get_by_role("combobox", name="Labelers").select_option("training")
    page.get_by_role("button", name="Show").press("Enter")
    figure = page.get_by_role("region", name="Preferred over base")
    expect(figure).to_be_visible()
    expect(page.get_by_text("8 rankings count")).to_be_visible()
    figure.get_by_text("Table").click()
    expect(figure.get_by_role("row", name="PPO-ptx")).to_contain_text("8")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_faults(page) == []
    page.wait_for_load_state()
    with page.expect_download() as saved:
        figure.get_by_role("button", name="Preferred over base as PNG").press("Enter")
    saved.value.save_as(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(PNG)
    assert saved.value.suggested_filename == f"{project.slug}-preferred.png"


@pytest.mark.usefixtures("judged")
def test_many_judgments_follow_their_page(
    browse_as: BrowseAs, researcher: Person, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.evals.routes.AT_ONCE", 3)
    page = browse_as(researcher)
    page.goto(f"/p/{project.slug}/evaluations")
    expect(page.get_by_text("12 rankings count")).to_be_visible()
