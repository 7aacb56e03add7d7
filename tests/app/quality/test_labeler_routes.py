"""A labeler's page: what it shows, and pausing, leaving work out and letting it count again."""

import uuid

import pytest
from sqlalchemy import select

from app.accounts.models import AuditEvent, Person, PersonState
from app.core.db import reading, writing
from app.core.passwords import hash_password
from app.projects import service as projects
from app.projects.models import Project
from app.quality.models import Exclusion
from tests.app.quality.rows import make_batch, make_item, rank
from tests.conftest import SignIn
from tests.factories import make_person


def address(project: Project, person: Person) -> str:
    return f"/p/{project.slug}/labeling/labelers/{person.id}"


@pytest.fixture
def other(labeler: Person, project: Project) -> Person:
    """Somebody who has ranked the same item as `labeler`, otherwise."""
    with writing() as session:
        other = make_person(session, project=project)
        item = make_item(session, project, make_batch(session, project), gold=[1, 2, 3])
        rank(session, item, labeler, [1, 2, 3], likert=[{"overall": 6}])
        rank(session, item, other, [1, 3, 2])
    return other


def exclusions() -> list[Exclusion]:
    with reading() as session:
        return list(session.scalars(select(Exclusion)))


def test_only_leads_see_and_change_a_labeler(
    sign_in: SignIn, labeler: Person, other: Person, outsider: Person, project: Project
) -> None:
    page = address(project, other)
    for person in (labeler, outsider):
        client = sign_in(person)
        assert client.get(page).status_code in (403, 404)
        assert client.post(f"{page}/state", data={"state": "paused", "reason": "x"}).status_code in (403, 404)
        assert client.post(f"{page}/exclusions", data={"reason": "x"}).status_code in (403, 404)
        assert client.post(f"{page}/exclusions/{uuid.uuid4()}/lift").status_code in (403, 404)
    client.cookies.clear()
    assert client.get(page).status_code == 303
    assert exclusions() == []


def test_the_page_shows_the_labelers_figures(
    sign_in: SignIn, researcher: Person, labeler: Person, other: Person, project: Project
) -> None:
    page = sign_in(researcher).get(f"{address(project, labeler)}?figures=true").text
    assert "66.7 %" in page
    assert "100.0 %" in page
    assert other.name in page
    assert "Nothing does, in 1 rankings looked at" in page


def test_a_member_without_work_has_an_empty_page_and_a_stranger_none(
    sign_in: SignIn, admin: Person, labeler: Person, outsider: Person, project: Project
) -> None:
    client = sign_in(admin)
    page = client.get(f"{address(project, labeler)}?figures=true")
    assert page.status_code == 200
    assert "shows when another labeler has ranked the same items" in page.text
    assert client.get(address(project, outsider)).status_code == 404


def test_a_lead_pauses_with_a_reason_and_lets_the_work_go_on(
    sign_in: SignIn, researcher: Person, labeler: Person, project: Project
) -> None:
    with writing() as session:
        session.get_one(Person, labeler.id).password_hash = "set long ago"
    client, page = sign_in(researcher), f"{address(project, labeler)}/state"
    refused = client.post(page, data={"state": "paused", "reason": " "})
    assert refused.status_code == 422
    assert "Please say why" in refused.text
    assert client.post(page, data={"state": "paused", "reason": "Asked for a break."}).status_code == 303
    with reading() as session:
        assert session.get_one(Person, labeler.id).state == PersonState.paused
        events = session.scalars(select(AuditEvent).where(AuditEvent.subject_id == labeler.id)).all()
        assert [each.details.get("reason") for each in events if each.action == "person.paused"] == [
            "Asked for a break."
        ]
    assert "Let the work go on" in client.get(address(project, labeler)).text
    assert client.post(page, data={"state": "active"}).status_code == 303
    with reading() as session:
        assert session.get_one(Person, labeler.id).state == PersonState.active


def test_a_researcher_pauses_no_lead_and_no_one_is_let_out_of_screening(
    sign_in: SignIn, researcher: Person, admin: Person, labeler: Person, project: Project
) -> None:
    with writing() as session:
        lead = make_person(session, role=researcher.role, project=project)
        session.get_one(Person, labeler.id).state = PersonState.screening
        projects.add_member(session, project, admin)
    client = sign_in(researcher)
    sent = {"state": "paused", "reason": "Why not."}
    assert client.post(f"{address(project, lead)}/state", data=sent).status_code == 403
    assert "Pause the work" not in client.get(address(project, lead)).text
    assert "only an active person can be paused" in client.post(f"{address(project, labeler)}/state", data=sent).text
    assert client.post(f"{address(project, labeler)}/state", data={"state": "invited"}).status_code == 422
    assert client.post(f"{address(project, researcher)}/state", data=sent).status_code == 403
    assert "pause yourself" in sign_in(admin).post(f"{address(project, admin)}/state", data=sent).text


def test_work_is_left_out_by_days_and_counts_again(
    sign_in: SignIn, researcher: Person, labeler: Person, other: Person, project: Project
) -> None:
    client, page = sign_in(researcher), address(project, other)
    sent = {"reason": "Ranked <b>at random</b>.", "first_day": "2026-01-05", "last_day": "2026-12-31"}
    assert client.post(f"{page}/exclusions", data=sent).status_code == 303
    (exclusion,) = exclusions()
    assert exclusion.labels_from is not None
    assert exclusion.labels_until is not None
    assert (exclusion.labels_from.isoformat(), exclusion.labels_until.isoformat()) == (
        "2026-01-05T00:00:00+00:00",
        "2027-01-01T00:00:00+00:00",
    )
    shown = client.get(page).text
    assert "Ranked &lt;b&gt;at random&lt;/b&gt;." in shown
    assert "labels of 2026-01-05 to before 2027-01-01" in shown
    assert f"{other.name}</b></a>" in client.get(f"/p/{project.slug}/labeling?figures=true").text
    assert client.post(f"{page}/exclusions/{exclusion.id}/lift").status_code == 303
    assert f"lifted by {researcher.name}" in client.get(page).text
    assert client.post(f"{page}/exclusions/{uuid.uuid4()}/lift").status_code == 404


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"reason": ""}, "Please say why"),
        ({"reason": "So.", "first_day": "tomorrow"}, "is not a day"),
        ({"reason": "So.", "first_day": "2026-02-02", "last_day": "2026-02-01"}, "after the last"),
    ],
)
def test_a_wrong_form_is_refused_with_what_was_typed(
    sign_in: SignIn, admin: Person, labeler: Person, project: Project, sent: dict[str, str], words: str
) -> None:
    answer = sign_in(admin).post(f"{address(project, labeler)}/exclusions", data=sent)
    assert answer.status_code == 422
    assert words in answer.text
    assert sent["reason"] in answer.text
    assert exclusions() == []


def test_whoever_is_paused_reads_why_after_the_right_password(
    sign_in: SignIn, researcher: Person, labeler: Person, project: Project
) -> None:
    with writing() as session:
        session.get_one(Person, labeler.id).password_hash = hash_password("three red boats")
    client = sign_in(researcher)
    client.post(f"{address(project, labeler)}/state", data={"state": "paused", "reason": "Please call Ada first."})
    client.cookies.clear()
    right = client.post("/sign-in", data={"email": labeler.email, "password": "three red boats"})
    assert right.status_code == 422
    assert "Your work is paused: Please call Ada first." in right.text
    wrong = client.post("/sign-in", data={"email": labeler.email, "password": "two red boats"})
    assert "paused" not in wrong.text
