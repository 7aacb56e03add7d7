"""A labeler sees their own figures, and only as far as the project lets them."""

from collections.abc import Callable

from fastapi.testclient import TestClient

from app.accounts.models import Person
from app.core.db import writing
from app.projects.models import Project

SignIn = Callable[[Person], TestClient]


def test_a_newcomer_is_told_when_there_will_be_figures(sign_in: SignIn, labeler: Person, project: Project) -> None:
    page = sign_in(labeler).get(f"/p/{project.slug}/own").text
    assert "as soon as others have ranked the same items" in page
    assert "as soon as you have done some" in page


def test_what_admins_do_not_show_is_not_shown(sign_in: SignIn, labeler: Person, project: Project) -> None:
    with writing() as session:
        stored = session.get_one(Project, project.id)
        stored.settings = {"show_own_agreement": False, "show_own_gold": False}
    page = sign_in(labeler).get(f"/p/{project.slug}/own").text
    assert "admins show no figures" in page
    assert "Agreement with others" not in page


def test_who_is_no_member_sees_nothing(sign_in: SignIn, outsider: Person, project: Project) -> None:
    assert sign_in(outsider).get(f"/p/{project.slug}/own").status_code == 404
