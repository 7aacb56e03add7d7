"""Inviting, changing, paying, exporting and erasing people, through HTTP."""

import csv
import io
import json
import uuid
from collections.abc import Callable
from datetime import timedelta

import pyotp
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.accounts import second_factor
from app.accounts import service as accounts
from app.accounts.models import (
    ApiToken,
    AuditEvent,
    Group,
    Person,
    PersonState,
    ProviderIdentity,
    RecoveryCode,
    Role,
    SecondFactor,
    SignIn,
    SignInLink,
)
from app.core.clock import now
from app.core.db import reading, writing
from app.labeling.leases import lease_next
from app.labeling.models import Assignment, AssignmentState, Demonstration, Item, SelfAssessment
from app.labeling.plans import count_labelers_for
from app.labeling.schemas import Draft, Skip, Submission
from app.labeling.submissions import save_draft, skip, submit
from app.projects import service as projects
from app.projects.models import Project
from app.registry.models import Model
from app.webhooks.models import LetterWish
from tests.app.labeling.rows import make_demonstration_batch, make_ranking_batch
from tests.factories import make_person

SignInAs = Callable[[Person], TestClient]


def again(person: Person) -> Person:
    with reading() as session:
        return session.get_one(Person, person.id)


def actions(person: Person) -> list[str]:
    with reading() as session:
        query = select(AuditEvent.action).where(AuditEvent.subject_id == person.id).order_by(AuditEvent.created_at)
        return list(session.scalars(query))


def work(person: Person, project: Project) -> None:
    """A demonstration submitted, one skipped, a ranking submitted, and one begun."""
    with writing() as session:
        make_demonstration_batch(session, project, items=2, priority=9)
        make_ranking_batch(session, project, items=2, completions=2)
        for text in ("=A dog ran home.", ""):
            assignment = lease_next(session, person, project)
            assert assignment is not None
            if text:
                sent = Submission(text=text, submission_key=str(uuid.uuid4()), active_seconds=1800)
                submit(session, person, assignment.id, sent)
            else:
                save_draft(session, person, assignment.id, Draft(text="Hm.", active_seconds=600))
                skip(session, person, assignment.id, Skip(reason="Too hard."))
        ranked = lease_next(session, person, project)
        assert ranked is not None
        sent = Submission(ranks={"A": 1, "B": 2}, submission_key=str(uuid.uuid4()), active_seconds=1200)
        submit(session, person, ranked.id, sent)
        begun = lease_next(session, person, project)
        assert begun is not None
        save_draft(session, person, begun.id, Draft(note="Half a thought."))


def test_an_invitation_places_a_candidate_in_projects(
    client: TestClient, sign_in: SignInAs, admin: Person, project: Project
) -> None:
    form = {"name": "Lin", "email": "lin@example.org", "role": "labeler", "group": "held_out", "joins": "screening",
            "projects": str(project.id)}  # fmt: skip
    page = sign_in(admin).post("/people", data=form).text
    link = "/welcome/" + page.split("/welcome/")[1].split("<")[0]
    with reading() as session:
        lin = accounts.person_by_email(session, "lin@example.org")
        assert [each.id for each in projects.projects_of_member(session, lin)] == [project.id]
    assert (lin.state, lin.group) == (PersonState.screening, Group.held_out)
    client.cookies.clear()
    assert client.post(link, data={"password": "three red boats"}).status_code == 303
    assert again(lin).state == PersonState.screening, "the password does not end the screening"


@pytest.mark.parametrize(
    "wrong", [{"role": "admin", "joins": "screening"}, {"joins": "never"}, {"projects": "none"}, {"name": " "}]
)
def test_a_refused_invitation_keeps_what_was_typed(sign_in: SignInAs, admin: Person, wrong: dict[str, str]) -> None:
    form = {"name": "Lin", "email": "lin@example.org", "role": "labeler", **wrong}
    answer = sign_in(admin).post("/people", data=form)
    assert (answer.status_code, 'value="lin@example.org"' in answer.text) == (422, True)
    with reading() as session:
        assert session.scalar(select(Person).where(Person.email == "lin@example.org")) is None


def test_roles_groups_and_states_change_and_are_logged(sign_in: SignInAs, admin: Person, labeler: Person) -> None:
    client = sign_in(admin)
    with writing() as session:
        accounts.set_password(session.get_one(Person, labeler.id), "three red boats")
    for what, value in (("group", "held_out"), ("state", "paused"), ("state", "active"), ("role", "researcher")):
        assert client.post(f"/people/{labeler.id}/{what}", data={what: value}).status_code == 303
    changed = again(labeler)
    assert (changed.group, changed.state, changed.role) == (Group.held_out, PersonState.active, Role.researcher)
    assert actions(labeler) == ["person.group", "person.paused", "person.active", "person.role"]
    page = client.get(f"/people/{labeler.id}").text
    assert "role researcher" in page


def test_nobody_demotes_or_pauses_themself(sign_in: SignInAs, admin: Person) -> None:
    client = sign_in(admin)
    assert client.post(f"/people/{admin.id}/role", data={"role": "labeler"}).status_code == 422
    assert client.post(f"/people/{admin.id}/state", data={"state": "paused"}).status_code == 422


def test_who_never_joined_waits_as_invited_after_a_pause(sign_in: SignInAs, admin: Person) -> None:
    with writing() as session:
        lin = accounts.add_person(session, "lin@example.org", name="Lin", role=Role.labeler)
    client = sign_in(admin)
    for state in ("paused", "active"):
        client.post(f"/people/{lin.id}/state", data={"state": state})
    assert again(lin).state == PersonState.invited


def test_a_new_link_replaces_the_old_one(client: TestClient, sign_in: SignInAs, admin: Person, labeler: Person) -> None:
    old, new = (sign_in(admin).post(f"/people/{labeler.id}/link").text.split("/welcome/")[1][:43] for _ in range(2))
    assert client.get(f"/welcome/{old}").status_code == 404
    assert client.get(f"/welcome/{new}").status_code == 200


def test_hours_count_all_work_and_run_nothing_in_a_spreadsheet(
    sign_in: SignInAs, admin: Person, labeler: Person, project: Project
) -> None:
    with writing() as session:
        session.get_one(Person, labeler.id).name = "=HYPERLINK(1)"
    work(labeler, project)
    client = sign_in(admin)
    page = client.get(f"/people/{labeler.id}").text
    assert "1.0 active hours" in page
    assert "1 demonstration, 1 ranking" in page
    for address in (f"/people/{labeler.id}/hours.csv", "/people/hours.csv"):
        rows = list(csv.DictReader(io.StringIO(client.get(address).text)))
        assert [(row["name"], row["demonstration"], row["ranking"], row["skipped"]) for row in rows] == [
            ("'=HYPERLINK(1)", "1", "1", "1")
        ]
        assert float(rows[0]["active_hours"]) == 1.0
        assert rows[0]["day"] == now().date().isoformat()
    long_ago = (now() - timedelta(days=90)).date()
    empty = client.get(f"/people/{labeler.id}?first={long_ago}&last={long_ago}").text
    assert "No work between these days" in empty


@pytest.mark.parametrize("span", ["first=2026-02-30", "first=2026-03-01&last=2026-02-01", "first=1999-01-01"])
def test_wrong_days_are_refused_in_words(sign_in: SignInAs, admin: Person, labeler: Person, span: str) -> None:
    answer = sign_in(admin).get(f"/people/{labeler.id}?{span}")
    assert (answer.status_code, 'role="alert"' in answer.text) == (422, True)
    assert sign_in(admin).get(f"/people/hours.csv?{span}").status_code == 422


def test_a_person_gets_all_they_made_and_no_model_s_name(sign_in: SignInAs, labeler: Person, project: Project) -> None:
    work(labeler, project)
    with writing() as session:
        session.get_one(Person, labeler.id).password_hash = "the hash"
        session.add(SecondFactor(person_id=labeler.id, sealed_secret="the sealed secret"))
        models = session.scalars(select(Model)).all()
    answer = sign_in(labeler).get("/me/export.json")
    data = json.loads(answer.text)
    assert data["person"]["email"] == labeler.email
    assert [each["text"] for each in data["demonstrations"]] == ["=A dog ran home."]
    assert [[place["rank"] for place in each["places"]] for each in data["rankings"]] == [[1, 2]]
    assert {each["state"] for each in data["assignments"]} == {"submitted", "skipped", "leased"}
    assert "Half a thought." in answer.text
    for secret in ("the hash", "token_hash", *(model.name for model in models), *(str(model.id) for model in models)):
        assert secret not in answer.text


def test_others_data_is_for_admins_alone(sign_in: SignInAs, admin: Person, labeler: Person, researcher: Person) -> None:
    assert sign_in(admin).get(f"/people/{labeler.id}/export.json").status_code == 200
    for person in (researcher, labeler):
        client = sign_in(person)
        for address in ("", "/export.json", "/hours.csv"):
            assert client.get(f"/people/{labeler.id}{address}").status_code == 403
        for what in ("erase", "role", "group", "state", "link"):
            assert client.post(f"/people/{labeler.id}/{what}", data={}).status_code == 403


def test_an_admins_open_screen_gives_no_password_and_resets_no_second_factor(sign_in: SignInAs, admin: Person) -> None:
    client = sign_in(admin)
    with writing() as session:
        shown = second_factor.begin(session, admin)
        second_factor.confirm(session, admin, pyotp.TOTP(shown.secret.replace(" ", "")).now())
    page = client.get(f"/people/{admin.id}").text
    for what in ("link", "second-factor/reset"):
        assert f'action="/people/{admin.id}/{what}"' not in page
        assert client.post(f"/people/{admin.id}/{what}").status_code == 403
    with reading() as session:
        assert second_factor.is_on(session, admin)
        assert session.scalars(select(SignInLink).where(SignInLink.person_id == admin.id)).all() == []


def test_erasure_leaves_the_labels_and_nothing_of_the_person(
    client: TestClient, sign_in: SignInAs, admin: Person, labeler: Person, project: Project
) -> None:
    work(labeler, project)
    with writing() as session:
        person = session.get_one(Person, labeler.id)
        person.preferences, person.password_hash = {"night": True}, "hash"
        accounts.start_session(session, person)
        accounts.new_sign_in_link(session, person)
        session.add(ApiToken(person_id=person.id, name="mine", token_hash="x"))
        session.add(SecondFactor(person_id=person.id, sealed_secret="x"))
        session.add(RecoveryCode(person_id=person.id, code_hash="x"))
        session.add(ProviderIdentity(person_id=person.id, issuer="https://id.example.org", subject="x"))
        session.add(LetterWish(project_id=project.id, person_id=person.id, kinds=["run_failed"]))
        session.add(SelfAssessment(project_id=project.id, person_id=person.id, answers={"topics": []}))
    sign_in(admin)
    refused = client.post(f"/people/{labeler.id}/erase", data={"name": "Somebody"})
    assert (refused.status_code, labeler.name in refused.text) == (422, True)
    assert client.post(f"/people/{labeler.id}/erase", data={"name": f" {labeler.name} "}).status_code == 303
    erased = again(labeler)
    assert (erased.password_hash, erased.preferences, erased.state) == (None, {}, PersonState.paused)
    assert erased.erased_at is not None
    assert actions(labeler)[-1] == "person.erase"
    with reading() as session:
        gone = (SignIn, SignInLink, ApiToken, SecondFactor, RecoveryCode, ProviderIdentity, LetterWish, SelfAssessment)
        for table in gone:
            assert session.scalars(select(table).where(table.person_id == labeler.id)).all() == []
        assert session.scalars(select(Demonstration.person_id)).all() == [labeler.id]
        assert set(session.scalars(select(Assignment.draft))) == {None}
        states = set(session.scalars(select(Assignment.state)))
        assert AssignmentState.leased not in states
        assert sum(session.scalars(select(Item.taken))) == 2
        assert projects.projects_of_member(session, erased) == []
    for address in ("/people", f"/people/{labeler.id}", f"/people/{labeler.id}/export.json", "/people/hours.csv"):
        text = client.get(address).text
        assert labeler.name not in text
        assert labeler.email not in text
    for what, data in (("link", {}), ("state", {"state": "active"}), ("erase", {"name": erased.name})):
        assert client.post(f"/people/{labeler.id}/{what}", data=data).status_code == 409


def test_the_last_admin_stays(sign_in: SignInAs, admin: Person) -> None:
    client = sign_in(admin)
    answer = client.post(f"/people/{admin.id}/erase", data={"name": admin.name})
    assert (answer.status_code, "last admin" in answer.text) == (409, True)
    with writing() as session:
        paused = make_person(session, role=Role.admin)
        paused.state = PersonState.paused
    assert client.post(f"/people/{admin.id}/erase", data={"name": admin.name}).status_code == 409
    with writing() as session:
        make_person(session, role=Role.admin)
    gone = client.post(f"/people/{admin.id}/erase", data={"name": admin.name})
    assert gone.headers["location"] == "/sign-in"
    assert again(admin).erased_at is not None


def test_erased_people_do_not_come_back_into_batches(
    sign_in: SignInAs, admin: Person, labeler: Person, project: Project
) -> None:
    with writing() as session:
        batch = make_ranking_batch(session, project)
        before = count_labelers_for(session, batch)
    sign_in(admin).post(f"/people/{labeler.id}/erase", data={"name": labeler.name})
    with reading() as session:
        assert count_labelers_for(session, batch) == before - 1
