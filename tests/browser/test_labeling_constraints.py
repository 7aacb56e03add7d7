"""What a demonstration has to keep to is in sight while it is written: the prompt, and the guidelines' rules."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from app.accounts.models import Person
from app.core.db import writing
from app.labeling import service as labeling
from app.projects import service as projects
from app.projects.models import GuidelinesKind, Project
from app.prompts.models import PromptKind
from tests.browser.axe import serious_faults
from tests.factories import make_prompt

BrowseAs = Callable[[Person], Page]
RULES = "# Writing\n\n- Use **60 to 130 words**.\n- End warmly.\n\n# Else\n\nBe helpful."


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (380, 800)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_prompt_and_the_rules_stay_in_sight(
    browse_as: BrowseAs, labeler: Person, project: Project, width: int, height: int, scheme: str
) -> None:
    with writing() as session:
        projects.publish_guidelines(session, project, GuidelinesKind.demonstration, RULES)
        prompt = make_prompt(session, project, text="Write a story of three sentences about a <b>dog</b>.")
        prompt.kind, prompt.language = PromptKind.few_shot, "de"
        labeling.create_demonstration_batch(session, project, prompts=[prompt])
    page = browse_as(labeler)
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": height})
    page.goto(f"/p/{project.slug}/desk")
    page.locator("#answer").fill("A long story.\n\n" * 80)
    page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
    page.wait_for_function("window.scrollY > 400")
    expect(page.locator(".prompt .rendered")).to_be_in_viewport()
    rules = page.get_by_role("group", name="What the guidelines ask")
    expect(rules.get_by_text("60 to 130 words")).to_be_in_viewport()
    expect(rules).not_to_contain_text("Be helpful")
    expect(page.locator(".prompt footer")).to_contain_text("Its language is marked as de")
    expect(page.locator(".prompt footer")).to_contain_text("shows a pattern")
    expect(page.locator(".answer footer .chip")).to_have_text(["Helpful"])
    assert serious_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
