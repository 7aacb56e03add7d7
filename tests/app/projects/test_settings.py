"""A project's settings: what they are when nothing was set, who may change them, and what is refused."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.accounts.models import AuditEvent, Person
from app.core.config import Settings
from app.core.db import reading, writing
from app.projects.models import Project
from app.projects.settings import ProjectSettings, settings_of
from tests.factories import make_project

SignIn = Callable[[Person], TestClient]


@pytest.fixture
def project(installation: Settings) -> Project:
    """A project of which nothing was set."""
    with writing() as session:
        project = make_project(session)
        project.settings = {}
        return project


FORM = {
    "amend_minutes": "30",
    "disturbing_per_day": "0",
    "break_after_minutes": "45",
    "use_case_votes": "2",
    "show_own_agreement": "true",
}


def test_a_new_project_has_the_usual_settings(project: Project) -> None:
    usual = ProjectSettings()
    assert settings_of(project) == usual
    assert (usual.amend_minutes, usual.disturbing_per_day, usual.break_after_minutes) == (60, 20, 50)
    assert usual.must_accept_guidelines


def test_an_admin_changes_them_and_the_log_says_what(sign_in: SignIn, admin: Person, project: Project) -> None:
    client = sign_in(admin)
    assert client.post(f"/p/{project.slug}/settings", data=FORM).status_code == 303
    with reading() as session:
        stored = settings_of(session.get_one(Project, project.id))
        event = session.scalars(select(AuditEvent).where(AuditEvent.action == "project.settings")).one()
    assert (stored.amend_minutes, stored.disturbing_per_day) == (30, 0)
    assert (stored.show_own_agreement, stored.show_own_gold, stored.must_accept_guidelines) == (True, False, False)
    assert event.details["changed"]["amend_minutes"] == [60, 30]
    assert "break_after_minutes" in event.details["changed"]
    assert 'value="30"' in client.get(f"/p/{project.slug}/settings").text


@pytest.mark.parametrize(
    ("field", "value"), [("amend_minutes", "-1"), ("amend_minutes", "soon"), ("amend_minutes", "")]
)
def test_a_wrong_setting_is_refused_in_words(
    sign_in: SignIn, admin: Person, project: Project, field: str, value: str
) -> None:
    answer = sign_in(admin).post(f"/p/{project.slug}/settings", data={**FORM, field: value})
    assert answer.status_code == 422
    assert "Minutes to amend" in answer.text
    assert 'value="45"' in answer.text, "what was typed must still be there"
    with reading() as session:
        assert settings_of(session.get_one(Project, project.id)) == ProjectSettings()


def test_only_admins_see_the_settings(
    client: TestClient, sign_in: SignIn, labeler: Person, researcher: Person, project: Project
) -> None:
    address = f"/p/{project.slug}/settings"
    assert client.get(address).status_code == 303
    for person in (labeler, researcher):
        assert sign_in(person).get(address).status_code == 403
        assert sign_in(person).post(address, data=FORM).status_code == 403
