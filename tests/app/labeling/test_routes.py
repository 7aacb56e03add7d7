"""The desk and the bench through HTTP, as plain forms."""

import re
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.accounts.models import Group, Person
from app.core.db import reading, writing
from app.labeling import service
from app.labeling.models import (
    Assignment,
    AssignmentState,
    Batch,
    BatchKind,
    BatchState,
    Completion,
    Demonstration,
    Item,
    RankingPlace,
    Rating,
)
from app.projects.models import Project
from app.prompts.models import UseCase
from tests.app.labeling.rows import make_demonstration_batch, make_ranking_batch
from tests.factories import make_completion, make_model, make_person, make_project, make_prompt

SignIn = Callable[[Person], TestClient]
HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)></textarea><a href='javascript:alert(1)'>x</a>"
    "{{ 7 * 7 }}\u202eright to left\u200b"
)
RANKS = {"rank_A": "2", "rank_B": "1", "rank_C": "2", "rank_D": "4"}


@pytest.fixture
def ranking_batch(project: Project) -> Batch:
    with writing() as session:
        return make_ranking_batch(session, project, items=2)


@pytest.fixture
def demonstration_batch(project: Project) -> Batch:
    with writing() as session:
        return make_demonstration_batch(session, project)


def assignment_in(page: str) -> str:
    found = re.search(r'data-assignment="([0-9a-f-]{36})"', page)
    assert found, "the page shows no assignment"
    return found[1]


def key_in(page: str) -> str:
    found = re.search(r'name="submission_key" value="([^"]+)"', page)
    assert found
    return found[1]


def rows(model: type) -> list[object]:
    with reading() as session:
        return list(session.scalars(select(model)).all())


def test_the_desk_asks_for_a_sign_in(client: TestClient, project: Project) -> None:
    answer = client.get(f"/p/{project.slug}/desk")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?then=/p/{project.slug}/desk")
    assert client.get(f"/api/v1/projects/{project.slug}/desk").status_code == 401


def test_members_of_other_projects_find_no_desk(
    sign_in: SignIn, outsider: Person, ranking_batch: Batch, project: Project
) -> None:
    assert sign_in(outsider).get(f"/p/{project.slug}/desk").status_code == 404
    assert rows(Assignment) == []


def test_the_desk_shows_the_next_item_and_again_the_same(
    sign_in: SignIn, labeler: Person, ranking_batch: Batch, project: Project
) -> None:
    client = sign_in(labeler)
    first, again = (client.get(f"/p/{project.slug}/desk").text for _ in range(2))
    assert assignment_in(first) == assignment_in(again)
    assert first.count('class="completion sheet"') == 4
    assert "Rank the four completions" in first


def test_a_plain_form_is_stored_and_the_desk_says_what_was(
    sign_in: SignIn, labeler: Person, ranking_batch: Batch, project: Project
) -> None:
    client = sign_in(labeler)
    page = client.get(f"/p/{project.slug}/desk").text
    address = f"/p/{project.slug}/assignments/{assignment_in(page)}"
    form = {
        **RANKS,
        "submission_key": key_in(page),
        "likert_A_overall": "6",
        "flags_A": ["hallucination", "fails_task"],
        "note_B": "short",
        "note": "",
    }
    answer = client.post(address, data=form)
    assert answer.status_code == 303
    following = client.get(answer.headers["location"]).text
    assert 'You submitted <b class="num">B &gt; A = C &gt; D</b>' in following
    assert assignment_in(following) != assignment_in(page)
    with reading() as session:
        ratings = {(tuple(each.flags), each.note) for each in session.scalars(select(Rating))}
    assert ratings == {(("fails_task", "hallucination"), ""), ((), "short")}
    look_back = client.get(address).text
    assert "B &gt; A = C &gt; D" in look_back
    assert "bench-form" not in look_back


def test_a_refused_form_comes_back_as_typed(
    sign_in: SignIn, labeler: Person, ranking_batch: Batch, project: Project
) -> None:
    client = sign_in(labeler)
    page = client.get(f"/p/{project.slug}/desk").text
    form = {
        "rank_A": "1",
        "likert_B_overall": "7",
        "flags_C": "hallucination",
        "note_D": "what I typed",
        "note": "and this",
        "submission_key": key_in(page),
    }
    answer = client.post(f"/p/{project.slug}/assignments/{assignment_in(page)}", data=form)
    assert answer.status_code == 422
    assert "Not ranked yet: B, C, D." in answer.text
    assert re.search(r'name="rank_A" value="1" checked', answer.text)
    assert re.search(r'name="likert_B_overall" value="7" checked', answer.text)
    assert re.search(r'name="flags_C" value="hallucination" checked', answer.text)
    assert "what I typed" in answer.text
    assert "and this" in answer.text
    assert key_in(answer.text) == key_in(page)
    assert rows(RankingPlace) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"rank_A": "0"},
        {"rank_A": "best"},
        {"rank_A": "9999999999999999999999"},
        {"rank_Z": "1"},
        {"likert_A_overall": "8"},
        {"likert_A_overall": "-1"},
        {"flags_A": "nonsense"},
        {"model": "sft"},
        {"submission_key": "x"},
        {"active_seconds": "soon"},
        {"note": "x" * 6000},
    ],
)
def test_wrong_fields_are_refused_and_nothing_is_stored(
    sign_in: SignIn, labeler: Person, ranking_batch: Batch, project: Project, wrong: dict[str, str]
) -> None:
    client = sign_in(labeler)
    page = client.get(f"/p/{project.slug}/desk").text
    form = {**RANKS, "submission_key": key_in(page), **wrong}
    answer = client.post(f"/p/{project.slug}/assignments/{assignment_in(page)}", data=form)
    assert answer.status_code == 422
    assert 'name="rank_B" value="1" checked' in answer.text
    assert rows(RankingPlace) == []


def test_the_same_form_twice_is_stored_once(
    sign_in: SignIn, labeler: Person, ranking_batch: Batch, project: Project
) -> None:
    client = sign_in(labeler)
    page = client.get(f"/p/{project.slug}/desk").text
    form = {**RANKS, "submission_key": key_in(page)}
    for _ in range(2):
        answer = client.post(f"/p/{project.slug}/assignments/{assignment_in(page)}", data=form)
        assert answer.status_code == 303
    assert len(rows(RankingPlace)) == 4


def test_a_second_tab_with_other_ranks_is_refused_with_its_ranks_kept(
    sign_in: SignIn, labeler: Person, ranking_batch: Batch, project: Project
) -> None:
    client = sign_in(labeler)
    page, other_tab = (client.get(f"/p/{project.slug}/desk").text for _ in range(2))
    address = f"/p/{project.slug}/assignments/{assignment_in(page)}"
    client.post(address, data={**RANKS, "submission_key": key_in(page)})
    answer = client.post(address, data={**RANKS, "rank_A": "3", "submission_key": key_in(other_tab)})
    assert answer.status_code == 409
    assert "B &gt; A = C &gt; D" in answer.text
    assert 'name="rank_A" value="3" checked' in answer.text


def test_an_empty_desk_says_why(sign_in: SignIn, labeler: Person, project: Project) -> None:
    client = sign_in(labeler)
    assert "Nothing to label yet" in client.get(f"/p/{project.slug}/desk").text
    with writing() as session:
        make_ranking_batch(session, project, group=Group.held_out)
        make_ranking_batch(session, project).state = BatchState.paused
        make_ranking_batch(session, project, priority=1)
        other = make_person(session, project=project)
    sign_in(other).get(f"/p/{project.slug}/desk")
    page = sign_in(labeler).get(f"/p/{project.slug}/desk").text
    assert "1 item is with other labelers" in page
    assert "1 batch is paused" in page
    assert "1 open batch is for another group" in page


def test_after_the_last_item_the_desk_says_that_all_is_done(
    sign_in: SignIn, labeler: Person, demonstration_batch: Batch, project: Project
) -> None:
    client = sign_in(labeler)
    page = client.get(f"/p/{project.slug}/desk").text
    form = {"text": "Max was brave.\r\nThe end.", "submission_key": key_in(page)}
    answer = client.post(f"/p/{project.slug}/assignments/{assignment_in(page)}", data=form)
    following = client.get(answer.headers["location"]).text
    assert "All done" in following
    assert "a demonstration of 5 words" in following
    assert [each.text for each in rows(Demonstration)] == ["Max was brave.\nThe end."]


def test_an_empty_demonstration_is_refused(
    sign_in: SignIn, labeler: Person, demonstration_batch: Batch, project: Project
) -> None:
    client = sign_in(labeler)
    page = client.get(f"/p/{project.slug}/desk").text
    address = f"/p/{project.slug}/assignments/{assignment_in(page)}"
    answer = client.post(address, data={"text": " ", "submission_key": key_in(page)})
    assert answer.status_code == 422
    assert "The answer is empty." in answer.text


def test_a_demonstration_that_is_too_long_is_refused_with_all_of_it_kept(
    sign_in: SignIn, labeler: Person, demonstration_batch: Batch, project: Project
) -> None:
    client = sign_in(labeler)
    page = client.get(f"/p/{project.slug}/desk").text
    text = "word " * 20_001
    address = f"/p/{project.slug}/assignments/{assignment_in(page)}"
    answer = client.post(address, data={"text": text, "submission_key": key_in(page)})
    assert answer.status_code == 422
    assert text in answer.text


def test_skipping_needs_a_reason_and_leads_to_the_next_item(
    sign_in: SignIn, labeler: Person, ranking_batch: Batch, project: Project
) -> None:
    client = sign_in(labeler)
    page = client.get(f"/p/{project.slug}/desk").text
    address = f"/p/{project.slug}/assignments/{assignment_in(page)}/skip"
    assert client.post(address, data={"details": " "}).status_code == 422
    answer = client.post(address, data={"reason": "Something else", "details": "it is a poem"})
    assert answer.status_code == 303
    assert assignment_in(client.get(answer.headers["location"]).text) != assignment_in(page)
    skipped = [each for each in rows(Assignment) if each.state == AssignmentState.skipped]
    assert [each.skip_reason for each in skipped] == ["Something else: it is a poem"]


def test_the_assignment_of_another_person_is_not_there(
    sign_in: SignIn, labeler: Person, ranking_batch: Batch, project: Project
) -> None:
    page = sign_in(labeler).get(f"/p/{project.slug}/desk").text
    with writing() as session:
        other = make_person(session, project=project)
    client = sign_in(other)
    address = f"/p/{project.slug}/assignments/{assignment_in(page)}"
    assert client.get(address).status_code == 404
    assert client.post(address, data={**RANKS, "submission_key": key_in(page)}).status_code == 404
    assert client.post(f"{address}/skip", data={"reason": "mine"}).status_code == 404
    assert client.get(f"/p/{project.slug}/desk?after={assignment_in(page)}").status_code == 404


def test_an_assignment_does_not_open_under_another_project(
    sign_in: SignIn, labeler: Person, ranking_batch: Batch, project: Project
) -> None:
    with writing() as session:
        other = make_project(session, name="Other")
        service.projects.add_member(session, other, labeler)
    client = sign_in(labeler)
    page = client.get(f"/p/{project.slug}/desk").text
    assert client.get(f"/p/{other.slug}/assignments/{assignment_in(page)}").status_code == 404


def test_no_page_and_no_json_names_a_model_or_a_completion(sign_in: SignIn, labeler: Person, project: Project) -> None:
    with writing() as session:
        model = make_model(session, project, name="secret-policy-7")
        prompt = make_prompt(session, project)
        completions = [make_completion(session, prompt, model=model) for _ in range(4)]
        service.create_ranking_batch(session, project, completions_by_prompt={prompt.id: completions})
        hidden = [str(each.id) for each in completions] + [str(model.id), "secret-policy-7"]
    client = sign_in(labeler)
    page = client.get(f"/p/{project.slug}/desk").text
    body = client.get(f"/api/v1/projects/{project.slug}/desk").text
    assert [each for each in hidden if each in page + body] == []


def test_hostile_texts_are_shown_as_text(sign_in: SignIn, labeler: Person, project: Project) -> None:
    with writing() as session:
        prompt = make_prompt(session, project, text=HOSTILE + " in the prompt")
        completions = [make_completion(session, prompt, text=HOSTILE + str(n)) for n in range(2)]
        service.create_ranking_batch(session, project, completions_by_prompt={prompt.id: completions})
    client = sign_in(labeler)
    page = client.get(f"/p/{project.slug}/desk").text
    address = f"/p/{project.slug}/assignments/{assignment_in(page)}"
    typed = client.post(address, data={"note": HOSTILE, "note_A": HOSTILE, "submission_key": key_in(page)})
    assert typed.status_code == 422
    for shown in (page, typed.text):
        assert "<script>alert" not in shown
        assert "<img" not in shown
        assert "javascript:alert(1)&#39;&gt;" in shown, "the link is there as text only"
        assert "{{ 7 * 7 }}" in shown
        assert shown.count('dir="auto"') >= 5


# Batches


@pytest.mark.parametrize("address", ["labeling", "labeling/new"])
def test_the_batches_are_not_for_labelers(
    sign_in: SignIn, client: TestClient, labeler: Person, project: Project, address: str
) -> None:
    assert client.get(f"/p/{project.slug}/{address}").status_code == 303
    assert sign_in(labeler).get(f"/p/{project.slug}/{address}").status_code == 403


def test_researchers_see_batches_and_change_none(
    sign_in: SignIn, researcher: Person, ranking_batch: Batch, project: Project
) -> None:
    client = sign_in(researcher)
    assert "2 prompts × 1" in client.get(f"/p/{project.slug}/labeling").text
    answer = client.post(f"/p/{project.slug}/labeling/{ranking_batch.id}/state", data={"state": "closed"})
    assert answer.status_code == 403
    assert client.post(f"/p/{project.slug}/labeling/demonstrations", data={"count": "1"}).status_code == 403


def test_an_admin_opens_a_demonstration_batch_of_what_lacks_one(
    sign_in: SignIn, admin: Person, project: Project
) -> None:
    with writing() as session:
        stories = [make_prompt(session, project) for _ in range(3)]
        make_prompt(session, project, use_case=UseCase.chat)
        service.record_demonstration(session, stories[0], admin, "A story.")
    form = {"count": "10", "split": "train", "use_cases": "generation", "overlap": "2", "name": "Stories", "group": ""}
    answer = sign_in(admin).post(f"/p/{project.slug}/labeling/demonstrations", data=form)
    assert answer.status_code == 303
    with reading() as session:
        batch = session.scalars(select(Batch)).one()
        items = session.scalars(select(Item).order_by(Item.position)).all()
    assert (batch.name, batch.kind, batch.overlap, batch.group) == ("Stories", BatchKind.demonstration, 2, None)
    assert [item.prompt_id for item in items] == [stories[1].id, stories[2].id]
    assert {item.wanted for item in items} == {2}


@pytest.mark.parametrize(
    "wrong", [{"count": "0"}, {"count": "many"}, {"overlap": "99"}, {"split": "none"}, {"use_cases": "chat"}]
)
def test_a_wrong_batch_is_refused_as_typed(
    sign_in: SignIn, admin: Person, project: Project, wrong: dict[str, str]
) -> None:
    with writing() as session:
        make_prompt(session, project)
    form = {"count": "1", "name": "As <typed>", **wrong}
    answer = sign_in(admin).post(f"/p/{project.slug}/labeling/demonstrations", data=form)
    assert answer.status_code == 422
    assert 'value="As &lt;typed&gt;"' in answer.text
    assert rows(Batch) == []


def test_pause_close_and_reopen(sign_in: SignIn, admin: Person, ranking_batch: Batch, project: Project) -> None:
    client = sign_in(admin)
    address = f"/p/{project.slug}/labeling/{ranking_batch.id}/state"
    for state in ("paused", "open", "closed", "open"):
        assert client.post(address, data={"state": state}).status_code == 303
        with reading() as session:
            assert session.scalars(select(Batch.state)).one() == state
    client.post(address, data={"state": "closed"})
    assert client.post(address, data={"state": "paused"}).status_code == 409
    assert client.post(address, data={"state": "burnt"}).status_code == 422


def test_a_batch_of_another_project_is_not_there(sign_in: SignIn, admin: Person, ranking_batch: Batch) -> None:
    with writing() as session:
        other = make_project(session, name="Other")
    answer = sign_in(admin).post(f"/p/{other.slug}/labeling/{ranking_batch.id}/state", data={"state": "closed"})
    assert answer.status_code == 404


def test_rankings_need_a_run_that_wrote_completions(sign_in: SignIn, admin: Person, project: Project) -> None:
    form = {"run_id": "6b3f0a52-1111-4222-8333-444455556666"}
    answer = sign_in(admin).post(f"/p/{project.slug}/labeling/rankings", data=form)
    assert answer.status_code == 422
    assert "no completions to rank" in answer.text
    assert rows(Completion) == []
