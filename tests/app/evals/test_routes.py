"""The evaluations page: who may see it, and what it says when there is nothing."""

from collections.abc import Callable

from fastapi.testclient import TestClient

from app.accounts.models import Person
from app.projects.models import Project

SignIn = Callable[[Person], TestClient]


def test_evaluations_are_for_researchers_and_admins(
    client: TestClient, sign_in: SignIn, labeler: Person, researcher: Person, project: Project
) -> None:
    address = f"/p/{project.slug}/evaluations"
    assert client.get(address).status_code == 303
    assert sign_in(labeler).get(address).status_code == 403
    page = sign_in(researcher).get(address)
    assert (page.status_code, "No head-to-head judgments yet" in page.text) == (200, True)


def test_a_baseline_that_was_never_judged_is_said_so(sign_in: SignIn, researcher: Person, project: Project) -> None:
    answer = sign_in(researcher).get(f"/p/{project.slug}/evaluations?baseline={project.id}")
    assert (answer.status_code, "Choose another baseline" in answer.text) == (404, True)
