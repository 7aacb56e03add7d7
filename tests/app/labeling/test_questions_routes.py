"""What an item asks by its prompt's use case, through HTTP on both databases: pages, the API, refusals, corrections."""

import re
import uuid
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from app.accounts.models import Person
from app.core.db import reading, writing
from app.labeling.models import Batch, Item, Ranking, Rating
from app.projects.models import Project
from app.prompts.models import UseCase
from tests.app.labeling.rows import make_ranking_batch, publish_closed
from tests.conftest import SignIn

RANKS = {"rank_A": "2", "rank_B": "1", "rank_C": "2", "rank_D": "4"}


@pytest.fixture
def installation_url(database_url: str) -> str:
    return database_url


def open_batch(project: Project, *use_cases: UseCase, **more: Any) -> list[Batch]:
    """An item of each use case, the first one first."""
    with writing() as session:
        publish_closed(session, project, **more)
        return [
            make_ranking_batch(session, project, use_case=each, priority=-place) for place, each in enumerate(use_cases)
        ]


def at_desk(client: TestClient, project: Project) -> tuple[str, dict[str, Any]]:
    """The desk as a page and as JSON: both show the same item."""
    page = client.get(f"/p/{project.slug}/desk").text
    assignment: dict[str, Any] = client.get(f"/api/v1/projects/{project.slug}/desk").json()["assignment"]
    assert assignment["id"] in page
    return page, assignment


def stored() -> tuple[int, list[list[str]]]:
    with reading() as session:
        flags = sorted(each for each in session.scalars(select(Rating.flags)) if each)
        return session.scalar(select(func.count()).select_from(Ranking)) or 0, flags


def form(**more: str) -> dict[str, str]:
    return {"submission_key": str(uuid.uuid4()), **RANKS, **more}


def test_each_item_asks_what_is_for_its_prompt(sign_in: SignIn, labeler: Person, project: Project) -> None:
    """One process shows both kinds in turn: no card that is kept comes with the wrong flags."""
    use_cases = [UseCase.chat, UseCase.closed_qa, UseCase.other, UseCase.extract, UseCase.summarization]
    open_batch(project, *use_cases)
    client, shown, sent = sign_in(labeler), [], []
    for _ in use_cases:
        page, assignment = at_desk(client, project)
        shown.append('value="hallucination"' in page)
        sent.append("hallucination" in [each["key"] for each in assignment["schema"]["flags"]])
        assert 'value="fails_task"' in page
        flag = {"flags_A": "hallucination"} if shown[-1] else {"flags_A": "fails_task"}
        answer = client.post(f"/p/{project.slug}/assignments/{assignment['id']}", data=form(**flag))
        assert answer.status_code == 303, answer.text
    assert shown == sent == [False, True, True, False, True]
    assert stored() == (5, [["fails_task"]] * 2 + [["hallucination"]] * 3)


def test_a_flag_that_is_not_asked_is_refused_and_nothing_else_is_lost(
    sign_in: SignIn, labeler: Person, project: Project
) -> None:
    open_batch(project, UseCase.open_qa)
    client = sign_in(labeler)
    _, assignment = at_desk(client, project)
    address = f"/p/{project.slug}/assignments/{assignment['id']}"
    refused = client.post(address, data=form(flags_B="hallucination", note_A="Fine <b>words</b>.", note="Close."))
    assert refused.status_code == 422
    assert "The flag &#39;hallucination&#39; is not asked of open qa prompts: leave it out." in refused.text
    assert "Fine &lt;b&gt;words&lt;/b&gt;." in refused.text
    assert "Close." in refused.text
    assert re.search(r'name="rank_B" value="1" checked', refused.text)
    body = {"submission_key": assignment["submission_key"], "ranks": {"A": 1, "B": 2, "C": 3, "D": 4}}
    brought = {**body, "ratings": {"A": {"flags": ["hallucination"]}}}
    refused = client.post(f"/api/v1/assignments/{assignment['id']}/submit", json=brought)
    assert refused.status_code == 422
    assert "is not asked of open qa prompts" in refused.text
    assert stored() == (0, [])
    assert client.post(f"/api/v1/assignments/{assignment['id']}/submit", json=body).status_code == 200
    newest = re.search(r'name="amends" value="([^"]+)"', client.get(f"{address}/amend").text)
    assert newest
    refused = client.post(f"{address}/amend", data=form(amends=newest[1], flags_A="hallucination"))
    assert (refused.status_code, "is not asked of open qa prompts" in refused.text) == (422, True)
    assert stored() == (1, [])


def test_notes_are_asked_for_as_the_version_says(sign_in: SignIn, labeler: Person, project: Project) -> None:
    client = sign_in(labeler)
    for notes in ([], ["completion"], ["ranking"]):
        open_batch(project, UseCase.chat, notes=notes)
        page, assignment = at_desk(client, project)
        assert ('name="note_A"' in page, 'name="note"' in page) == ("completion" in notes, "ranking" in notes)
        assert ("write a note" in page) == ("ranking" in notes)
        assert assignment["schema"]["notes"] == notes
        address = f"/p/{project.slug}/assignments/{assignment['id']}"
        refused = client.post(address, data=form(note_A="Dull.", note="All dull."))
        assert ("note A: No note on a completion" in refused.text) == ("completion" not in notes)
        assert ("note: No note on the whole" in refused.text) == ("ranking" not in notes)
        assert refused.status_code == 422
        assert client.post(address, data=form()).status_code == 303


def test_a_help_text_is_said_with_its_question(sign_in: SignIn, labeler: Person, project: Project) -> None:
    open_batch(project, UseCase.closed_qa)
    page, assignment = at_desk(sign_in(labeler), project)
    for of in ("help-A-overall", "help-A-hallucination", "help-D-hallucination"):
        assert page.count(f'aria-describedby="{of}"') == page.count(f'id="{of}"') == 1
    assert "help-A-fails_task" not in page
    assert page.count("Look for each fact in the prompt.") == 4
    schema = assignment["schema"]
    assert [each["help"] for each in schema["flags"]] == ["", "Look for each fact in the prompt."]
    assert schema["flags"][1]["short"] == "Hallucination"
    assert schema["likert"][0]["help"] == "Would you send it as it is?"


def test_a_lead_answers_what_labelers_are_asked(sign_in: SignIn, admin: Person, project: Project) -> None:
    chat, closed = open_batch(project, UseCase.chat, UseCase.closed_qa)
    client = sign_in(admin)
    answer = {"purpose": "gold", "rank_A": "1", "rank_B": "1", "rank_C": "1", "rank_D": "1"}
    for batch, is_asked in ((chat, False), (closed, True)):
        with reading() as session:
            item_id = session.scalars(select(Item.id).where(Item.batch_id == batch.id)).one()
        address = f"/p/{project.slug}/labeling/batches/{batch.id}/items/{item_id}"
        assert ('value="hallucination"' in client.get(address).text) == is_asked
        sent = client.post(address, data={**answer, "flags_A": "hallucination"})
        assert sent.status_code == (303 if is_asked else 422)


def test_a_schema_of_nothing_but_flags_for_others_leaves_a_card_without_questions(
    sign_in: SignIn, labeler: Person, project: Project
) -> None:
    flags = [{"key": "made_up", "label": "Made up", "use_cases": ["extract"]}]
    open_batch(project, UseCase.chat, likert=[], flags=flags, notes=[])
    client = sign_in(labeler)
    page, assignment = at_desk(client, project)
    assert "<footer>" not in page.split('id="bench-form"')[1].split("</form>")[0]
    assert (assignment["schema"]["flags"], assignment["schema"]["likert"]) == ([], [])
    assert client.post(f"/p/{project.slug}/assignments/{assignment['id']}", data=form()).status_code == 303
