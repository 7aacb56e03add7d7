"""What a script does with webhooks: add one, keep its secret, see what it was sent, remove it."""

import pytest
from standardwebhooks.webhooks import Webhook as Signer
from touchstone import ApiError

from app.accounts.models import Person
from app.core.config import Settings
from app.core.db import writing
from app.projects.models import Project
from app.webhooks import service
from app.webhooks.models import Event
from app.webhooks.sending import send_due
from tests.app.webhooks.test_webhooks import Receiver, receiver  # noqa: F401  its fixture
from tests.client.conftest import Connect
from tests.factories import make_project


def test_one_is_added_told_and_removed(
    connect: Connect,
    admin: Person,
    project: Project,
    receiver: Receiver,  # noqa: F811
) -> None:
    mine = connect(admin).project(project.slug)
    made = mine.add_webhook(receiver.url, ["run.finished", "snapshot.frozen"])
    assert (made.url, made.events, made.is_paused) == (receiver.url, ["run.finished", "snapshot.frozen"], False)
    assert made.secret is not None
    assert made.secret not in repr(made)
    (known,) = mine.webhooks()
    assert (known.id, known.secret) == (made.id, None)
    sent = made.ping()
    assert (sent.event, sent.state, sent.said["type"]) == ("ping", "waiting", "ping")
    receiver.answers = [500]
    assert send_due() == 1
    (tried,) = made.deliveries()
    assert (tried.id, tried.attempts, tried.status, tried.error) == (sent.id, 1, 500, "It answered 500.")
    with pytest.raises(ApiError, match="waits to be sent already"):
        tried.send_again()
    with writing() as session:
        service.publish(session, project.id, Event.run_finished, name="x")
    assert send_due() == 1
    newest, _ = made.deliveries()
    assert (newest.event, newest.state, newest.said["data"]) == ("run.finished", "delivered", {"name": "x"})
    assert newest.delivered_at is not None
    headers, body = receiver.got[-1]
    assert Signer(made.secret).verify(body, headers)["data"] == {"name": "x"}
    assert newest.send_again().state == "waiting"
    made.delete()
    assert mine.webhooks() == []
    with pytest.raises(ApiError, match="404"):
        list(made.deliveries())


@pytest.fixture
def near_by(installation: Settings, monkeypatch: pytest.MonkeyPatch) -> str:
    """An address of this machine, which may be told of things here."""
    monkeypatch.setattr(installation, "webhook_private_addresses", True)
    return "http://127.0.0.1:9/"


def test_a_paused_one_is_passed_by(connect: Connect, admin: Person, project: Project, near_by: str) -> None:
    mine = connect(admin).project(project.slug)
    made = mine.add_webhook(near_by, ["run.finished"])
    assert made.pause().is_paused
    with writing() as session:
        service.publish(session, project.id, Event.run_finished, name="x")
    assert list(made.deliveries()) == []
    assert not made.resume().is_paused
    for number in range(101):
        with writing() as session:
            service.publish(session, project.id, Event.run_finished, number=number)
    numbers = [each.said["data"]["number"] for each in made.deliveries()]  # more than a page
    assert sorted(numbers) == list(range(101))
    assert numbers[0] > numbers[-1], "the newest first"


def test_what_can_not_be_is_refused_in_words(
    connect: Connect, admin: Person, researcher: Person, project: Project
) -> None:
    mine = connect(admin).project(project.slug)
    for url, events, words in (
        ("http://127.0.0.1/", ["run.finished"], "url"),
        ("https://example.org/", [], "events"),
        ("https://example.org/", ["ping"], "events"),
        ("https://example.org/", ["run.started"], "events"),
    ):
        with pytest.raises(ApiError, match=words) as refused:
            mine.add_webhook(url, events)
        assert refused.value.status == 422
    assert mine.webhooks() == []
    with pytest.raises(ApiError, match="403"):
        connect(researcher).project(project.slug).webhooks()


def test_another_projects_are_not_reached(connect: Connect, admin: Person, project: Project, near_by: str) -> None:
    with writing() as session:
        other = make_project(session)
    client = connect(admin)
    theirs = client.project(other.slug).add_webhook(near_by, ["run.finished"])
    told = theirs.ping()
    start = f"/api/v1/projects/{project.slug}/webhooks"
    for method, path in (
        ("GET", theirs.id),
        ("DELETE", theirs.id),
        ("POST", f"{theirs.id}/pause"),
        ("POST", f"{theirs.id}/ping"),
        ("GET", f"{theirs.id}/deliveries"),
        ("POST", f"deliveries/{told.id}/again"),
    ):
        with pytest.raises(ApiError, match="404"):
            client.connection.ask(method, f"{start}/{path}")
    assert [each.id for each in client.project(other.slug).webhooks()] == [theirs.id]
