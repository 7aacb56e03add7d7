"""Disagreements in the browser: who may see and decide them, what is refused, and that the models stay hidden."""

import uuid

import pytest
from sqlalchemy import select

from app.accounts.models import Person
from app.core.db import reading, writing
from app.labeling.models import Item, Ranking
from app.projects.models import Project
from app.prompts.models import Prompt
from app.registry.models import Model
from tests.app.quality.rows import make_batch, make_item, rank
from tests.conftest import SignIn
from tests.factories import make_person

WHOLE = {"rank_A": "1", "rank_B": "2", "rank_C": "2", "note": "A is <b>right</b>.", "decided": ""}


@pytest.fixture
def item(labeler: Person, project: Project) -> Item:
    with writing() as session:
        item = make_item(session, project, make_batch(session, project, name="Foxes"))
        rank(session, item, labeler, [1, 2, 3], note="<i>clear</i>")
        rank(session, item, make_person(session, project=project), [3, 2, 1])
    return item


def queue(project: Project) -> str:
    return f"/p/{project.slug}/labeling/disagreements"


def decisions() -> int:
    with reading() as session:
        return len(session.scalars(select(Ranking).where(Ranking.is_adjudication)).all())


def test_labelers_outsiders_and_the_signed_out_stay_out(
    sign_in: SignIn, labeler: Person, outsider: Person, project: Project, item: Item
) -> None:
    for person in (labeler, outsider):
        client = sign_in(person)
        for address in (queue(project), f"{queue(project)}/{item.id}"):
            assert client.get(address).status_code in (403, 404)
        assert client.post(f"{queue(project)}/{item.id}", data=WHOLE).status_code in (403, 404)
    client.cookies.clear()
    assert client.get(queue(project)).status_code == 303
    assert decisions() == 0


def test_a_lead_decides_and_sees_it_stored(
    sign_in: SignIn, researcher: Person, labeler: Person, project: Project, item: Item
) -> None:
    client = sign_in(researcher)
    assert f"{queue(project)}/{item.id}" in client.get(f"{queue(project)}?figures=true").text
    page = client.get(f"{queue(project)}/{item.id}").text
    assert labeler.name in page
    assert "&lt;i&gt;clear&lt;/i&gt;" in page
    answer = client.post(f"{queue(project)}/{item.id}", data=WHOLE)
    assert answer.status_code == 303
    shown = client.get(answer.headers["location"]).text
    assert "A &gt; B = C" in shown
    shown = client.get(f"{queue(project)}?figures=true").text
    assert "On no item do the labelers agree on less than that." in shown
    again = client.get(f"{queue(project)}/{item.id}").text
    assert f"{researcher.name} decided" in again
    assert 'name="rank_B" value="2" checked' in again
    assert "A is &lt;b&gt;right&lt;/b&gt;." in again


def test_nothing_on_the_page_names_a_model(sign_in: SignIn, researcher: Person, project: Project, item: Item) -> None:
    page = sign_in(researcher).get(f"{queue(project)}/{item.id}").text
    with reading() as session:
        models = session.scalars(select(Model)).all()
    assert models
    assert not any(model.name in page or str(model.id) in page for model in models)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"rank_A": "1"}, "rank B: Not ranked yet."),
        ({**WHOLE, "rank_A": "9"}, "Ranks go from 1 to 3."),
        ({**WHOLE, "rank_A": "first"}, "ranks.A"),
        ({**WHOLE, "speed": "9"}, "speed"),
    ],
)
def test_a_refused_decision_keeps_what_was_typed(
    sign_in: SignIn, admin: Person, project: Project, item: Item, sent: dict[str, str], words: str
) -> None:
    answer = sign_in(admin).post(f"{queue(project)}/{item.id}", data={**sent, "note": "Because of B."})
    assert answer.status_code == 422
    assert words in answer.text
    assert "Because of B." in answer.text
    assert decisions() == 0


def test_a_decision_on_an_older_page_is_refused(
    sign_in: SignIn, admin: Person, researcher: Person, project: Project, item: Item
) -> None:
    assert sign_in(researcher).post(f"{queue(project)}/{item.id}", data=WHOLE).status_code == 303
    answer = sign_in(admin).post(f"{queue(project)}/{item.id}", data={**WHOLE, "rank_A": "3"})
    assert answer.status_code == 409
    assert f"{researcher.name} has decided this item meanwhile" in answer.text
    assert 'name="rank_A" value="3" checked' in answer.text
    assert decisions() == 1


def test_who_ranked_it_sees_why_someone_else_must_decide(
    sign_in: SignIn, researcher: Person, project: Project, item: Item
) -> None:
    with writing() as session:
        rank(session, session.get_one(Item, item.id), researcher, [2, 1, 3])
    page = sign_in(researcher).get(f"{queue(project)}/{item.id}").text
    assert "You are one of the labelers who disagree." in page
    assert "Store the decision" not in page


def test_marked_content_is_covered_for_leads_too(
    sign_in: SignIn, researcher: Person, project: Project, item: Item
) -> None:
    client, page = sign_in(researcher), f"{queue(project)}/{item.id}"
    assert "content-warning" not in client.get(page).text
    with writing() as session:
        session.get_one(Prompt, item.prompt_id).flags = ["violence"]
    shown = client.get(page).text
    assert "<b>Violence</b> content" in shown
    assert 'id="content-shown" class="visually-hidden">' in shown


def test_empty_queues_and_unknown_items_say_so(sign_in: SignIn, admin: Person, project: Project) -> None:
    client = sign_in(admin)
    assert "No two labelers have judged the same item yet." in client.get(f"{queue(project)}?figures=true").text
    assert client.get(f"{queue(project)}/{uuid.uuid4()}").status_code == 404
    assert client.get(f"{queue(project)}?below=80").status_code == 422
