"""A labeler's own pages: accepting guidelines, looking back, reporting, stopping a batch."""

import uuid
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.accounts.models import AuditEvent, Person
from app.core.db import reading, writing
from app.labeling.history import PAGE
from app.labeling.leases import lease_next
from app.labeling.models import Assignment, Batch, BatchState, Report, ReportKind
from app.labeling.schemas import Skip, Submission
from app.labeling.submissions import skip, submit
from app.projects import service as projects
from app.projects.models import GuidelinesAcceptance, GuidelinesKind, Project
from tests.app.labeling.rows import make_demonstration_batch, make_ranking_batch

SignIn = Callable[[Person], TestClient]
RANKS = {"A": 2, "B": 1, "C": 2, "D": 4}


def begin(person: Person, project: Project) -> Assignment:
    with writing() as session:
        assignment = lease_next(session, person, project)
    assert assignment is not None
    return assignment


def hand_in(person: Person, project: Project, **values: object) -> Assignment:
    assignment = begin(person, project)
    sent = {"submission_key": str(uuid.uuid4()), **(values or {"ranks": RANKS})}
    with writing() as session:
        submit(session, person, assignment.id, Submission.model_validate(sent))
    return assignment


@pytest.fixture
def batch(project: Project) -> Batch:
    with writing() as session:
        return make_ranking_batch(session, project, items=3)


@pytest.fixture
def strict(project: Project, batch: Batch) -> Project:
    """The project, now with guidelines that have to be accepted."""
    with writing() as session:
        session.get_one(Project, project.id).settings = {"must_accept_guidelines": True}
    return project


def test_guidelines_are_accepted_before_the_first_item(sign_in: SignIn, labeler: Person, strict: Project) -> None:
    client = sign_in(labeler)
    page = client.get(f"/p/{strict.slug}/desk").text
    assert "Before you begin" in page
    assert "rank_A" not in page
    with reading() as session:
        held = session.scalars(select(Assignment)).one()
        rules = session.get_one(Batch, session.scalars(select(Batch.id)).one()).guidelines_id
    assert "Before you begin" in client.get(f"/p/{strict.slug}/assignments/{held.id}").text
    accepted = client.post(f"/p/{strict.slug}/guidelines/{rules}/accept")
    assert accepted.headers["location"] == f"/p/{strict.slug}/desk"
    client.post(f"/p/{strict.slug}/guidelines/{rules}/accept")
    assert "rank_A" in client.get(f"/p/{strict.slug}/desk").text
    with reading() as session:
        assert len(session.scalars(select(GuidelinesAcceptance)).all()) == 1


def test_a_new_version_is_accepted_anew_and_says_what_is_new(sign_in: SignIn, labeler: Person, strict: Project) -> None:
    client = sign_in(labeler)
    first = client.get(f"/api/v1/projects/{strict.slug}/desk").json()
    assert first["assignment"] is None
    assert first["guidelines_to_accept"]["version"] == 1
    rules = first["guidelines_to_accept"]["id"]
    assert client.post(f"/api/v1/projects/{strict.slug}/guidelines/{rules}/accept").json()["version"] == 1
    assert client.get(f"/api/v1/projects/{strict.slug}/desk").json()["assignment"]
    with writing() as session:
        text = "# Be helpful\n\nPrefer <b>short</b> texts."
        version = projects.publish_guidelines(session, strict, GuidelinesKind.ranking, text)
        session.scalars(select(Batch)).one().guidelines_id = version.id
    page = client.get(f"/p/{strict.slug}/desk").text
    assert "The guidelines have changed" in page
    assert "<ins>Prefer &lt;b&gt;short&lt;/b&gt; texts.</ins>" in page
    assert "<del>Prefer true and harmless texts.</del>" in page


def test_another_projects_guidelines_are_not_found(sign_in: SignIn, labeler: Person, strict: Project) -> None:
    assert sign_in(labeler).post(f"/p/{strict.slug}/guidelines/{uuid.uuid4()}/accept").status_code == 404


def test_history_lists_what_counts_and_what_was_skipped(
    sign_in: SignIn, labeler: Person, project: Project, batch: Batch
) -> None:
    client = sign_in(labeler)
    assert "Nothing yet" in client.get(f"/p/{project.slug}/history").text
    hand_in(labeler, project)
    assignment = begin(labeler, project)
    with writing() as session:
        skip(session, labeler, assignment.id, Skip(reason="It is in a language I do not read"))
    page = client.get(f"/p/{project.slug}/history").text
    assert "B &gt; A = C &gt; D" in page
    assert "skipped: It is in a language" in page
    assert page.count("/amend") == 1


@pytest.mark.parametrize(("search", "hits"), [("Löwe", 1), ('"', 1), ("tangerine", 1), ("100%", 0), ("nowhere", 0)])
def test_history_is_searched_in_texts_prompts_and_notes(
    sign_in: SignIn, labeler: Person, project: Project, search: str, hits: int
) -> None:
    with writing() as session:
        make_demonstration_batch(session, project)
        make_ranking_batch(session, project, priority=-1)
    hand_in(labeler, project, text='The Löwe said "no".')
    hand_in(labeler, project, ranks=RANKS, note="Tangerine wins.")
    page = sign_in(labeler).get(f"/p/{project.slug}/history", params={"search": search}).text
    assert page.count('class="actions"') == hits
    assert ("Nothing of yours speaks of" in page) == (hits == 0)


def test_history_goes_on_page_by_page(sign_in: SignIn, labeler: Person, project: Project) -> None:
    with writing() as session:
        make_demonstration_batch(session, project, items=PAGE + 2)
    for number in range(PAGE + 2):
        hand_in(labeler, project, text=f"Story {number} ends here, well.")
    client = sign_in(labeler)
    first = client.get(f"/p/{project.slug}/history").text
    assert first.count('class="actions"') == PAGE
    older = first.split("before=")[1].split('"')[0].replace("&amp;", "&")
    assert client.get(f"/p/{project.slug}/history?before={older}").text.count('class="actions"') == 2
    assert client.get(f"/p/{project.slug}/history?before=yesterday").status_code == 422


def test_the_stop_cord_pauses_the_batch_and_keeps_what_was_begun(
    sign_in: SignIn, labeler: Person, project: Project, batch: Batch
) -> None:
    client, held = sign_in(labeler), begin(labeler, project)
    said = {"kind": "stop_cord", "reason": "Text is broken or cut off", "details": "All of them."}
    answer = client.post(f"/p/{project.slug}/assignments/{held.id}/report", data=said)
    page = client.get(answer.headers["location"]).text
    assert "The batch is stopped for everyone" in page
    with reading() as session:
        assert session.get_one(Batch, batch.id).state == BatchState.paused
        made = session.scalars(select(Report)).one()
        assert (made.kind, made.person_id, made.details) == (ReportKind.stop_cord, labeler.id, "All of them.")
        assert session.scalars(select(AuditEvent.action).where(AuditEvent.action == "batch.stop_cord")).one()
    sent = {"submission_key": str(uuid.uuid4()), "ranks": RANKS}
    assert client.post(f"/api/v1/assignments/{held.id}/submit", json=sent).status_code == 200


def test_a_problem_is_told_and_stops_nothing(sign_in: SignIn, labeler: Person, project: Project, batch: Batch) -> None:
    client, held = sign_in(labeler), begin(labeler, project)
    said = {"kind": "problem", "reason": "Personal data"}
    assert client.post(f"/api/v1/assignments/{held.id}/report", json=said).status_code == 204
    assert "rank_A" in client.get(f"/p/{project.slug}/desk?told=1").text
    with reading() as session:
        assert session.get_one(Batch, batch.id).state == BatchState.open


@pytest.mark.parametrize("said", [{}, {"kind": "fire", "reason": "x"}, {"kind": "problem", "reason": " "}])
def test_a_report_without_words_is_refused(
    sign_in: SignIn, labeler: Person, project: Project, batch: Batch, said: dict[str, str]
) -> None:
    client, held = sign_in(labeler), begin(labeler, project)
    assert client.post(f"/p/{project.slug}/assignments/{held.id}/report", data=said).status_code == 422
    with reading() as session:
        assert not session.scalars(select(Report)).all()
