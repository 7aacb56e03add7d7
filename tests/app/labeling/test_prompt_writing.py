"""Labelers write prompts; the answers of few-shot examples become demonstrations."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.accounts.models import Group, Person
from app.core.db import reading, writing
from app.labeling.models import Demonstration
from app.projects.models import Project
from app.prompts.models import Prompt, PromptKind, UseCase
from tests.factories import make_person

SignIn = Callable[[Person], TestClient]
FEW_SHOT = {
    "kind": "few_shot", "use_case": "classification", "text": "Give the sentiment.",
    "query_1": "Tweet: rain again", "answer_1": "Sad", "query_3": "Tweet: a kite!", "answer_3": "Glad",
}  # fmt: skip


def pool() -> list[Prompt]:
    with reading() as session:
        return list(session.scalars(select(Prompt).order_by(Prompt.created_at, Prompt.id)))


def test_a_plain_prompt_joins_the_pool_under_its_writer(sign_in: SignIn, labeler: Person, project: Project) -> None:
    client, address = sign_in(labeler), f"/p/{project.slug}/prompts/write"
    sent = {"kind": "user_based", "use_case": "rewrite", "text": "Make my letter\r\nkinder."}
    answer = client.post(address, data=sent)
    assert answer.headers["location"] == f"{address}?added=1"
    assert "1 prompt added" in client.get(f"{address}?added=1").text
    (prompt,) = pool()
    assert prompt.messages == [{"role": "user", "content": "Make my letter\nkinder."}]
    assert (prompt.kind, prompt.use_case, prompt.written_by) == (PromptKind.user_based, UseCase.rewrite, labeler.id)
    again = client.post(address, data=sent)
    assert again.status_code == 422
    assert "in the pool already" in again.text


def test_k_examples_make_k_prompts_of_one_split_with_their_answers(
    sign_in: SignIn, labeler: Person, project: Project
) -> None:
    sign_in(labeler).post(f"/p/{project.slug}/prompts/write", data=FEW_SHOT)
    texts = {prompt.messages[0]["content"] for prompt in pool()}
    assert texts == {
        "Give the sentiment.\n\nTweet: a kite!\nGlad\n\nTweet: rain again",
        "Give the sentiment.\n\nTweet: rain again\nSad\n\nTweet: a kite!",
    }
    assert len({prompt.split for prompt in pool()}) == 1
    with reading() as session:
        assert sorted(session.scalars(select(Demonstration.text))) == ["Glad", "Sad"]


def test_a_held_out_labelers_examples_train_nothing(sign_in: SignIn, project: Project) -> None:
    with writing() as session:
        person = make_person(session, project=project, group=Group.held_out)
    sign_in(person).post(f"/p/{project.slug}/prompts/write", data=FEW_SHOT)
    with reading() as session:
        assert session.scalars(select(Demonstration)).all() == []
    assert len(pool()) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"text": " "}, "text"),
        ({"query_3": "", "answer_3": ""}, "2 examples at least"),
        ({"answer_3": ""}, "examples.1.answer"),
        ({"kind": "api"}, "plain, few-shot and user-based"),
    ],
)
def test_what_is_not_whole_is_refused_and_stays_typed(
    sign_in: SignIn, labeler: Person, project: Project, change: dict[str, str], words: str
) -> None:
    answer = sign_in(labeler).post(f"/p/{project.slug}/prompts/write", data=FEW_SHOT | change)
    assert answer.status_code == 422
    assert words in answer.text
    assert pool() == []
    if "text" not in change:
        assert "Give the sentiment." in answer.text


def test_who_is_no_member_writes_nothing(sign_in: SignIn, outsider: Person, project: Project) -> None:
    assert sign_in(outsider).post(f"/p/{project.slug}/prompts/write", data=FEW_SHOT).status_code == 404
