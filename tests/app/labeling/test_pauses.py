"""Pausing a person's work in one project: no new items, nothing lost, and a desk that says so."""

import threading
import uuid

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from app.accounts.models import AuditEvent, Person, Role
from app.core.db import reading, writing
from app.core.errors import Conflict, Forbidden, Invalid
from app.labeling.leases import count_left, lease_ahead, lease_next
from app.labeling.models import AssignmentState, Demonstration, Item, ItemPurpose
from app.labeling.plans import follow_labelers
from app.labeling.progress import why_empty
from app.labeling.schemas import Draft, Submission
from app.labeling.submissions import beat, save_draft, submit
from app.projects.models import Project, WorkPause
from app.projects.pauses import pause, pause_of, paused_in, pauses_of, resume
from tests.app.labeling.rows import make_demonstration_batch, make_ranking_batch
from tests.app.labeling.test_routes import assignment_in, key_in
from tests.conftest import SignIn
from tests.factories import make_person, make_project


@pytest.fixture
def lead(session: Session) -> Person:
    return make_person(session, role=Role.researcher)


def test_who_is_paused_gets_nothing_here_and_all_elsewhere(session: Session, lead: Person) -> None:
    here, there = make_project(session), make_project(session)
    mira, lin = (make_person(session, project=here) for _ in range(2))
    for project in (here, there):
        make_ranking_batch(session, project, items=3)
    pause(session, here, mira, reason="Let us talk first.", by=lead)
    assert lease_next(session, mira, here) is None
    assert (count_left(session, mira, here), count_left(session, lin, here)) == (0, 3)
    assert lease_next(session, mira, there) is not None
    assert lease_next(session, lin, here) is not None
    assert (paused_in(session, here), paused_in(session, there)) == ({mira.id}, set())
    resume(session, here, mira, by=lead)
    assert lease_next(session, mira, here) is not None


def test_the_item_at_hand_is_kept_stored_and_not_followed_by_another(session: Session, lead: Person) -> None:
    project = make_project(session)
    make_demonstration_batch(session, project, items=3)
    mira = make_person(session, project=project)
    at_hand = lease_next(session, mira, project)
    assert at_hand is not None
    pause(session, project, mira, reason="Let us talk first.", by=lead)
    assert lease_ahead(session, mira, project) is None
    save_draft(session, mira, at_hand.id, Draft(text="Once upon"))
    assert beat(session, mira, at_hand.id).state == AssignmentState.leased
    assert lease_next(session, mira, project) is None
    empty = why_empty(session, mira, project)
    assert empty.pause is not None
    assert list(empty.begun) == [at_hand.id]
    sent = Submission(text="Once upon a time.", submission_key=str(uuid.uuid4()))
    assert submit(session, mira, at_hand.id, sent).text == "Once upon a time."
    assert session.scalars(select(Demonstration.text)).all() == ["Once upon a time."]
    assert (lease_next(session, mira, project), list(why_empty(session, mira, project).begun)) == (None, [])


def test_items_for_everyone_do_not_wait_for_who_is_paused(session: Session, lead: Person) -> None:
    project = make_project(session)
    batch = make_ranking_batch(session, project)
    of_batch = select(Item).where(Item.batch_id == batch.id)
    item = session.scalars(of_batch).one()
    item.purpose = ItemPurpose.calibration
    mira, _ = (make_person(session, project=project) for _ in range(2))
    follow_labelers(session)
    pause(session, project, mira, reason="Let us talk first.", by=lead)
    follow_labelers(session)
    session.expire_all()
    assert [each.wanted for each in session.scalars(of_batch)] == [1]


def test_a_pause_has_a_reason_and_stands_once(session: Session, lead: Person) -> None:
    project = make_project(session)
    mira, researcher = make_person(session, project=project), make_person(session, role=Role.researcher)
    for reason, words in ((" ", "Please say why"), ("x" * 2001, "The reason is too long")):
        with pytest.raises(Invalid, match=words):
            pause(session, project, mira, reason=reason, by=lead)
    pause(session, project, mira, reason="Asked for\x00 a break.", by=lead)
    with pytest.raises(Conflict, match="paused in this project already"):
        pause(session, project, mira, reason="Again.", by=lead)
    for person in (researcher, lead):
        with pytest.raises(Forbidden):
            pause(session, project, person, reason="Why not.", by=lead)
    with pytest.raises(Forbidden):
        resume(session, project, mira, by=mira)
    standing = pause_of(session, project, mira)
    assert standing is not None
    assert (standing.reason, standing.by, standing.ask) == ("Asked for\ufffd a break.", lead.name, lead.email)


def test_what_was_paused_stays_to_be_read(session: Session, lead: Person) -> None:
    project, admin = make_project(session), make_person(session, role=Role.admin)
    mira = make_person(session, project=project)
    for reason, by in (("First.", lead), ("Second.", admin)):
        pause(session, project, mira, reason=reason, by=by)
        resume(session, project, mira, by=admin)
    resume(session, project, mira, by=admin)  # once more changes nothing
    pause(session, project, mira, reason="Third.", by=lead)
    said = [(each.reason, each.by, each.ended_by) for each in pauses_of(session, project, mira)]
    assert said == [
        ("Third.", lead.name, ""),
        ("Second.", admin.name, admin.name),
        ("First.", lead.name, admin.name),
    ]
    events = session.scalars(select(AuditEvent).where(AuditEvent.subject_id == mira.id).order_by(AuditEvent.created_at))
    told = [each for each in events if "in_project" in each.action]
    assert [each.action.split(".")[1].split("_")[0] for each in told] == ["pause", "resume", "pause", "resume", "pause"]
    assert {each.details["project"] for each in told} == {project.name}


def test_two_leads_at_once_make_one_pause(engine: Engine) -> None:
    with writing(engine) as session:
        project = make_project(session)
        mira = make_person(session, project=project)
        leads = [make_person(session, role=Role.researcher) for _ in range(4)]
    refused: list[str] = []

    def _pause(lead: Person) -> None:
        try:
            with writing(engine) as session:
                pause(session, project, session.get_one(Person, mira.id), reason="At once.", by=lead)
        except Conflict as error:
            refused.append(error.message)

    threads = [threading.Thread(target=_pause, args=(lead,)) for lead in leads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(refused) == 3
    with reading(engine) as session:
        assert len(session.scalars(select(WorkPause)).all()) == 1


def test_the_desk_says_so_and_takes_what_was_open(
    sign_in: SignIn, labeler: Person, researcher: Person, project: Project
) -> None:
    with writing() as session:
        make_demonstration_batch(session, project, items=2)
    desk = f"/p/{project.slug}/desk"
    page = sign_in(labeler).get(desk).text
    assignment, key = assignment_in(page), key_in(page)
    labelers = f"/p/{project.slug}/labeling/labelers/{labeler.id}"
    refused = sign_in(researcher).post(f"{labelers}/pause", data={"reason": " "})
    assert (refused.status_code, "Please say why" in refused.text) == (422, True)
    sent = {"reason": "Your rankings & ours <b>differ</b>."}
    assert sign_in(researcher).post(f"{labelers}/pause", data=sent).status_code == 303
    mine = sign_in(labeler)
    paused = mine.get(desk).text
    for words in ("is paused", "Your rankings &amp; ours &lt;b&gt;differ", researcher.name, researcher.email):
        assert words in paused
    assert "data-assignment" not in paused
    as_json = mine.get(f"/api/v1/projects/{project.slug}/desk").json()
    assert (as_json["assignment"], as_json["remaining"], as_json["paused"]) == (None, 0, sent["reason"])
    written = {"text": "A story of a dog.", "submission_key": key}
    assert mine.post(f"/p/{project.slug}/assignments/{assignment}", data=written).status_code == 303
    after = mine.get(f"{desk}?after={assignment}").text
    assert "You submitted" in after
    assert "is paused" in after
    assert sign_in(researcher).post(f"{labelers}/resume").status_code == 303
    assert "data-assignment" in sign_in(labeler).get(desk).text
    assert mine.get(f"/api/v1/projects/{project.slug}/desk").json()["paused"] is None


def test_pages_of_leads_say_who_is_paused_where(
    sign_in: SignIn, admin: Person, labeler: Person, project: Project
) -> None:
    with writing() as session:
        make_demonstration_batch(session, project)
        mira = session.get_one(Person, labeler.id)
        assignment = lease_next(session, mira, project)
        assert assignment is not None
        submit(session, mira, assignment.id, Submission(text="A story.", submission_key=str(uuid.uuid4())))
        pause(session, project, mira, reason="Let us talk.", by=admin)
    client, labelers = sign_in(admin), f"/p/{project.slug}/labeling/labelers/{labeler.id}"
    page = client.get(labelers).text
    assert "Let the work in this project go on" in page
    assert "Let us talk." in page
    assert "paused here" in client.get(f"/p/{project.slug}/people").text
    assert "paused here" in client.get(f"/p/{project.slug}/labeling?figures=true").text
    history = client.get(f"/people/{labeler.id}").text
    assert "paused there" in history
    assert f"pause in project: {project.name}" in history
    assert client.get(f"/people/{labeler.id}/export.json").json()["pauses"][0]["reason"] == "Let us talk."
    client.post(f"{labelers}/resume")
    assert "ended by" in client.get(labelers).text
    assert "paused here" not in client.get(f"/p/{project.slug}/people").text


@pytest.mark.parametrize("what", ["pause", "resume"])
def test_only_leads_pause(
    sign_in: SignIn, labeler: Person, outsider: Person, researcher: Person, project: Project, what: str
) -> None:
    with writing() as session:
        other = make_person(session, project=project)
    address = f"/p/{project.slug}/labeling/labelers/{{}}/{what}"
    assert sign_in(labeler).post(address.format(other.id), data={"reason": "x"}).status_code == 403
    assert sign_in(outsider).post(address.format(other.id), data={"reason": "x"}).status_code == 403
    client = sign_in(researcher)
    assert client.post(address.format(outsider.id), data={"reason": "x"}).status_code == 404
    assert client.post(address.format(researcher.id), data={"reason": "x"}).status_code == 403
    client.cookies.clear()
    assert client.post(address.format(other.id), data={"reason": "x"}).status_code in (303, 401)
    with reading() as session:
        assert session.scalars(select(WorkPause)).all() == []
