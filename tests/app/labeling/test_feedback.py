"""Training items teach at once, others never tell; a text that stands alone is graded."""

import uuid
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.accounts.models import Person
from app.core.db import reading, writing
from app.labeling import service
from app.labeling.leases import lease_next
from app.labeling.models import Assignment, Item, ItemPurpose, Rating
from app.projects.models import Project
from tests.app.labeling.rows import make_ranking_batch
from tests.factories import make_person, make_prompt

SignIn = Callable[[Person], TestClient]


def leased(project: Project, labeler: Person, purpose: ItemPurpose) -> Assignment:
    """A lease on an item whose answer is A > B = C in the labeler's own letters."""
    with writing() as session:
        make_ranking_batch(session, project, completions=3)
        assignment = lease_next(session, labeler, project)
        assert assignment is not None
        item = session.get_one(Item, assignment.item_id)
        first, *others = assignment.shown_order
        item.purpose = purpose
        item.gold = {
            "ranks": {first: 1, **dict.fromkeys(others, 2)},
            "flags": {first: [], others[0]: ["hallucination"], others[1]: []},
            "feedback": "**B** makes up a dog.",
        }
        return assignment


def form(**fields: str) -> dict[str, str]:
    return {"submission_key": str(uuid.uuid4()), **fields}


def test_a_training_item_shows_the_answer_before_the_next_item(
    sign_in: SignIn, labeler: Person, project: Project
) -> None:
    assignment = leased(project, labeler, ItemPurpose.training)
    client, page = sign_in(labeler), f"/p/{project.slug}/assignments/{assignment.id}"
    assert "makes up a dog" not in client.get(page).text
    sent = client.post(page, data=form(rank_A="2", rank_B="1", rank_C="3"))
    answer = client.get(sent.headers["location"])
    assert (answer.status_code, answer.headers["location"]) == (303, page)
    shown = client.get(page).text
    assert 'Our answer is <span class="num">A &gt; B = C</span>' in shown
    assert "You ordered 1 of 2 pairs as we do" in shown
    assert "<b>B</b> Hallucination" in shown
    assert "<strong>B</strong> makes up a dog." in shown
    assert client.get(f"/p/{project.slug}/desk").status_code == 200, "the next item is not held back"


def test_the_same_answer_is_said_to_be_the_same(sign_in: SignIn, labeler: Person, project: Project) -> None:
    assignment = leased(project, labeler, ItemPurpose.training)
    client, page = sign_in(labeler), f"/p/{project.slug}/assignments/{assignment.id}"
    client.post(page, data=form(rank_A="1", rank_B="3", rank_C="3"))
    assert "That is our answer too" in client.get(page).text


@pytest.mark.parametrize("purpose", [each for each in ItemPurpose if each != ItemPurpose.training])
def test_no_other_item_ever_tells(sign_in: SignIn, labeler: Person, project: Project, purpose: ItemPurpose) -> None:
    assignment = leased(project, labeler, purpose)
    client, page = sign_in(labeler), f"/p/{project.slug}/assignments/{assignment.id}"
    sent = client.post(page, data=form(rank_A="2", rank_B="1", rank_C="3"))
    seen = [client.get(sent.headers["location"]), client.get(page), client.get(f"/p/{project.slug}/history")]
    assert [each.status_code for each in seen] == [200, 200, 200]
    for each in seen:
        assert "makes up a dog" not in each.text
        assert "Our answer" not in each.text


@pytest.fixture
def grading(project: Project, labeler: Person) -> Assignment:
    """A lease of `labeler` on a text that someone else wrote."""
    with writing() as session:
        author, prompt = make_person(session, project=project), make_prompt(session, project)
        written = service.record_demonstration(session, prompt, author, "A dog ran home.")
        service.create_grading_batch(session, project, demonstrations=[written])
        assignment = lease_next(session, labeler, project)
        assert assignment is not None
        return assignment


def test_a_single_text_is_graded_and_not_ranked(
    sign_in: SignIn, labeler: Person, project: Project, grading: Assignment
) -> None:
    client, page = sign_in(labeler), f"/p/{project.slug}/assignments/{grading.id}"
    refused = client.post(page, data=form(rank_A="1", note="Only a note"))
    assert refused.status_code == 422
    assert "The grade is missing" in refused.text
    assert "Only a note" in refused.text
    sent = client.post(page, data=form(rank_A="1", likert_A_overall="6"))
    assert sent.status_code == 303
    assert "You submitted" in client.get(sent.headers["location"]).text
    assert "a grade of 6" in client.get(page).text
    with reading() as session:
        assert session.scalars(select(Rating.likert)).all() == [{"overall": 6}]
