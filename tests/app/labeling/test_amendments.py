"""Corrections supersede and are stored once; what was submitted first stays."""

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.core.clock import now
from app.core.db import reading, writing
from app.core.errors import Conflict, Invalid
from app.labeling.amendments import amend, can_amend, stored_as_draft
from app.labeling.bench import newest_label, receipt
from app.labeling.leases import lease_next
from app.labeling.models import Assignment, Demonstration, Item, ItemPurpose, Ranking
from app.labeling.schemas import Amendment, Submission
from app.labeling.submissions import submit
from app.projects.models import Project
from tests.app.labeling.rows import make_demonstration_batch, make_ranking_batch
from tests.factories import make_person, make_project

FIRST = {"A": 1, "B": 2, "C": 3, "D": 4}
SECOND = {"A": 2, "B": 1, "C": 1, "D": 4}


def submitted(session: Session, person: Person, project: Project, **values: object) -> Assignment:
    assignment = lease_next(session, person, project)
    assert assignment is not None
    sent = {"submission_key": str(uuid.uuid4()), **(values or {"ranks": FIRST})}
    submit(session, person, assignment.id, Submission.model_validate(sent))
    return assignment


def correction(session: Session, assignment: Assignment, **values: object) -> Amendment:
    newest = newest_label(session, assignment)
    assert newest is not None
    sent = {"submission_key": str(uuid.uuid4()), "amends": newest.id, **(values or {"ranks": SECOND})}
    return Amendment.model_validate(sent)


@pytest.fixture
def at_work(session: Session) -> tuple[Person, Project]:
    project = make_project(session)
    return make_person(session, project=project), project


def test_a_correction_counts_and_the_first_ranking_stays(session: Session, at_work: tuple[Person, Project]) -> None:
    person, project = at_work
    make_ranking_batch(session, project)
    assignment = submitted(session, person, project)
    stored = amend(session, person, assignment.id, correction(session, assignment))
    assert stored.words == "B = C > A > D"
    assert receipt(session, assignment) == stored
    rankings = session.scalars(select(Ranking).order_by(Ranking.created_at)).all()
    assert [each.supersedes_id for each in rankings] == [None, rankings[0].id]
    assert session.scalar(select(Item.got)) == 1


def test_a_correction_sent_twice_is_stored_once(session: Session, at_work: tuple[Person, Project]) -> None:
    person, project = at_work
    make_ranking_batch(session, project)
    assignment = submitted(session, person, project)
    sent = correction(session, assignment)
    assert amend(session, person, assignment.id, sent) == amend(session, person, assignment.id, sent)
    assert session.scalar(select(func.count()).select_from(Ranking)) == 2


def test_a_correction_that_changes_nothing_adds_no_row(session: Session, at_work: tuple[Person, Project]) -> None:
    person, project = at_work
    make_ranking_batch(session, project)
    assignment = submitted(session, person, project)
    amend(session, person, assignment.id, correction(session, assignment, ranks={"A": 1, "B": 3, "C": 4, "D": 4}))
    amend(session, person, assignment.id, correction(session, assignment, ranks={"A": 1, "B": 2, "C": 3, "D": 3}))
    assert session.scalar(select(func.count()).select_from(Ranking)) == 2


def test_of_two_corrections_of_one_the_second_is_refused(session: Session, at_work: tuple[Person, Project]) -> None:
    person, project = at_work
    make_ranking_batch(session, project)
    assignment = submitted(session, person, project)
    one, other = correction(session, assignment), correction(session, assignment, ranks=dict.fromkeys("ABCD", 1))
    amend(session, person, assignment.id, one)
    with pytest.raises(Conflict, match="B = C > A > D"):
        amend(session, person, assignment.id, other)


def test_a_demonstration_is_corrected_too(session: Session, at_work: tuple[Person, Project]) -> None:
    person, project = at_work
    make_demonstration_batch(session, project)
    assignment = submitted(session, person, project, text="Max hid.")
    amend(session, person, assignment.id, correction(session, assignment, text="Max hid under the bed."))
    assert stored_as_draft(session, assignment)["text"] == "Max hid under the bed."
    assert set(session.scalars(select(Demonstration.text))) == {"Max hid.", "Max hid under the bed."}
    with pytest.raises(Invalid, match="empty"):
        amend(session, person, assignment.id, correction(session, assignment, text=" "))


@pytest.mark.parametrize("minutes", [0, 60])
def test_after_its_time_nothing_is_corrected(session: Session, at_work: tuple[Person, Project], minutes: int) -> None:
    person, project = at_work
    project.settings = {"amend_minutes": minutes}
    make_ranking_batch(session, project)
    assignment = submitted(session, person, project)
    assignment.submitted_at = now() - timedelta(minutes=61)
    assert not can_amend(session, assignment, project)
    with pytest.raises(Conflict, match="60 minutes" if minutes else "can't be corrected"):
        amend(session, person, assignment.id, correction(session, assignment))


def test_an_answer_whose_solution_was_shown_stays(session: Session, at_work: tuple[Person, Project]) -> None:
    person, project = at_work
    make_ranking_batch(session, project)
    assignment = submitted(session, person, project)
    session.scalars(select(Item)).one().purpose = ItemPurpose.training
    session.flush()
    assert not can_amend(session, assignment, project)


def test_the_page_holds_what_is_stored_and_takes_the_correction(
    sign_in: Callable[[Person], TestClient], labeler: Person, project: Project
) -> None:
    with writing() as session:
        make_ranking_batch(session, project)
        assignment = submitted(session, labeler, project, ranks=FIRST, note="first thoughts")
        newest = newest_label(session, assignment)
    client = sign_in(labeler)
    address = f"/p/{project.slug}/assignments/{assignment.id}/amend"
    page = client.get(address).text
    assert "You are correcting what you submitted" in page
    assert 'name="rank_D" value="4" checked' in page
    assert "first thoughts" in page
    form = {f"rank_{letter}": str(rank) for letter, rank in SECOND.items()}
    form |= {"submission_key": str(uuid.uuid4()), "amends": str(newest.id)}  # type: ignore[union-attr]
    refused = client.post(address, data={**form, "rank_A": ""})
    assert refused.status_code == 422
    assert "Not ranked yet: A" in refused.text
    assert client.post(address, data=form).headers["location"] == f"/p/{project.slug}/desk?after={assignment.id}"
    desk = client.get(f"/p/{project.slug}/desk?after={assignment.id}").text
    assert "B = C &gt; A &gt; D" in desk
    assert f"{address}" in desk
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Ranking)) == 2


def test_nobody_corrects_what_is_not_theirs(
    sign_in: Callable[[Person], TestClient], labeler: Person, project: Project
) -> None:
    with writing() as session:
        make_ranking_batch(session, project)
        assignment = submitted(session, labeler, project)
        other = make_person(session, project=project)
    assert sign_in(other).get(f"/p/{project.slug}/assignments/{assignment.id}/amend").status_code == 404
