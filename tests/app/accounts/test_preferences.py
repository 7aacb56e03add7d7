"""What a person does not want to see: stored by themself, refused when it is nothing that can be marked."""

from collections.abc import Callable

from fastapi.testclient import TestClient

from app.accounts.models import Person
from app.accounts.preferences import Content, preferences_of
from app.core.db import reading

SignIn = Callable[[Person], TestClient]


def avoided(person: Person) -> set[Content]:
    with reading() as session:
        return set(preferences_of(session.get_one(Person, person.id)).avoided)


def test_they_are_stored_and_taken_back(sign_in: SignIn, labeler: Person) -> None:
    client = sign_in(labeler)
    assert client.post("/me/preferences", data={"avoided": ["sexual", "hateful"]}).status_code == 303
    assert avoided(labeler) == {Content.sexual, Content.hateful}
    assert client.get("/me/preferences").text.count("checked") == 2
    client.post("/me/preferences", data={})
    assert avoided(labeler) == set()


def test_what_cannot_be_marked_is_refused(sign_in: SignIn, labeler: Person) -> None:
    assert sign_in(labeler).post("/me/preferences", data={"avoided": "work"}).status_code == 422
    assert avoided(labeler) == set()


def test_nobody_is_asked_who_is_not_signed_in(client: TestClient) -> None:
    assert client.get("/me/preferences").headers["location"].startswith("/sign-in")
