"""What a prompt touched, a prompt withdrawn, and a model deleted, by keyboard, on wide and small screens."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from app.accounts.models import Person
from app.core.db import writing
from app.core.storage import get_artefacts
from app.datasets.models import SnapshotKind
from app.projects.models import Project
from app.registry.models import Model
from app.runs.configs import RunKind
from tests.app.datasets.labels import make_ranking
from tests.app.explorer.test_trace import freeze, make_trained
from tests.browser.axe import serious_faults
from tests.factories import make_prompt

BrowseAs = Callable[[Person], Page]


@pytest.fixture
def trained(project: Project, labeler: Person) -> Model:
    with writing() as session:
        make_ranking(session, project, labeler, [1, 2], prompt=make_prompt(session, project, text="A whale."))
    return make_trained(
        project, RunKind.reward_model, "rm-round-1", comparisons=freeze(project, SnapshotKind.comparisons)
    )


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 380)])
def test_a_prompt_is_traced_and_withdrawn_and_a_model_deleted(
    browse_as: BrowseAs, admin: Person, project: Project, trained: Model, scheme: str, width: int
) -> None:
    page = browse_as(admin)
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})

    def check() -> None:
        assert serious_faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    page.goto(f"/p/{project.slug}/explore")
    page.get_by_role("link", name="A whale.").press("Enter")
    page.get_by_role("link", name="What it touched").press("Enter")
    expect(page.get_by_role("region", name="Models")).to_contain_text("rm-round-1")
    check()
    page.get_by_role("link", name="A whale.").press("Enter")
    page.get_by_role("button", name="Withdraw it").press("Enter")
    expect(page.get_by_role("button", name="Take it back")).to_be_visible()
    check()
    page.goto(f"/p/{project.slug}/models/{trained.id}")
    check()
    page.get_by_role("link", name="Delete…").press("Enter")
    check()
    page.get_by_role("button", name="Delete its files").press("Enter")
    expect(page.get_by_text("Its files were deleted.")).to_be_visible()
    assert not get_artefacts().exists(trained.storage_key or "")
