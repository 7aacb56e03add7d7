"""A body is read as far as whoever sends it may send: the disk and the memory are nobody else's to fill."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from app.accounts import tokens
from app.accounts.body_limit import MIB, OF_ANYONE, OF_THE_SIGNED_IN
from app.accounts.models import Person
from app.core.config import get_settings
from app.core.db import get_engine, writing
from app.projects.models import Project
from tests.conftest import SignIn

FORM = {"Content-Type": "multipart/form-data; boundary=x"}
START = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
END = b"\r\n--x--\r\n"


class Sent:
    """A body made as it is read."""

    def __init__(self, size: int, start: bytes = b"", end: bytes = b"") -> None:
        self.size, self.start, self.end = size, start, end

    def __iter__(self) -> Iterator[bytes]:
        yield self.start
        yield from (b" " * (MIB // 4),) * (4 * self.size // MIB)
        yield self.end


@pytest.mark.parametrize("headers", [{}, {"Content-Length": str(9 * MIB)}], ids=["in pieces", "by its length"])
def test_nobody_sends_much_without_being_signed_in(client: TestClient, headers: dict[str, str]) -> None:
    body = Sent(9 * MIB)
    answer = client.post("/api/v1/sign-in", content=iter(body), headers=headers)
    assert (answer.status_code, "1 MiB" in answer.json()["detail"]) == (401, True)
    client.cookies.set("touchstone_session", "made up")
    assert client.post("/api/v1/sign-in", content=iter(Sent(9 * MIB))).status_code == 401


def test_a_token_is_counted_once_for_a_long_request_and_told_to_wait(
    client: TestClient, labeler: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "api_requests_per_minute", 2)
    with writing() as session:
        secret = tokens.create_token(session, labeler, name="loop", scope=tokens.Scope.write, days=1)

    def send(secret: str) -> int:
        headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
        body = iter(Sent(2 * MIB, end=b'{"text": "Once"}'))
        return client.put(f"/api/v1/assignments/{labeler.id}/draft", content=body, headers=headers).status_code

    assert send("touchstone_unknown") == 401
    assert [send(secret) for _ in range(3)] == [404, 404, 429]


def test_while_the_database_is_away_a_long_body_is_no_mistake_of_its_sender(
    sign_in: SignIn, labeler: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = sign_in(labeler)
    with monkeypatch.context() as away:
        away.setattr(get_settings(), "database_url", "sqlite:////nowhere/at/all.db")
        get_engine.cache_clear()
        answer = client.post("/api/v1/sign-in", content=iter(Sent(2 * MIB)))
    get_engine.cache_clear()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_files_are_an_admins_to_send(
    sign_in: SignIn, project: Project, admin: Person, labeler: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    for setting in ("upload_mib", "prompt_file_mib"):
        monkeypatch.setattr(get_settings(), setting, 20)

    def send(person: Person, size: int) -> int:
        headers = {**FORM, "Content-Length": str(size + len(START) + len(END))}
        body = iter(Sent(size, START, END))
        return sign_in(person).post(f"/p/{project.slug}/prompts/import", content=body, headers=headers).status_code

    assert send(labeler, OF_THE_SIGNED_IN + MIB) == 413
    assert send(labeler, OF_ANYONE + MIB) == 403  # it was read, and only then asked who may
    assert send(admin, OF_THE_SIGNED_IN + MIB) == 303
    assert send(admin, 22 * MIB) == 413


def test_json_is_never_a_file(sign_in: SignIn, project: Project, admin: Person) -> None:
    body = iter(Sent(OF_THE_SIGNED_IN + MIB))
    headers = {"Content-Type": "application/json"}
    answer = sign_in(admin).post(f"/api/v1/projects/{project.slug}/prompts", content=body, headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (413, 413)


def test_a_length_that_is_none_is_measured(client: TestClient) -> None:
    for said in ("9" * 5000, "-1", "many", "10"):  # a server may take "10" beside chunks as it comes
        answer = client.post("/api/v1/sign-in", content=iter(Sent(2 * MIB)), headers={"Content-Length": said})
        assert answer.status_code == 401
