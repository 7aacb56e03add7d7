"""Events reach the addresses that want them: signed, once the transaction is through, again until they are taken."""

import json
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sqlalchemy import select
from standardwebhooks.webhooks import Webhook as Signer

from app.accounts.models import Person
from app.core.clock import now
from app.core.config import get_settings
from app.core.db import reading, writing
from app.core.errors import Invalid
from app.projects.models import Project
from app.runs import service as runs
from app.webhooks import addresses, service
from app.webhooks.models import Delivery, DeliveryState, Event, Webhook
from app.webhooks.sending import send_due
from tests.app.runs.rows import make_running
from tests.conftest import SignIn
from tests.factories import make_project


class Receiver(ThreadingHTTPServer):
    """A real server that keeps what it gets; `answers` are its next statuses, then 204."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Keeps)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.taken: list[int] = []  # how many were some sender's as each came

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/told"


class _Keeps(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        with reading() as session:
            self.server.taken.append(
                sum(
                    each.attempts > 0 and each.state == DeliveryState.waiting
                    for each in session.scalars(select(Delivery))
                )
            )
        self.server.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        status = self.server.answers.pop(0) if self.server.answers else 204
        self.send_response(status)
        if status == 302:
            self.send_header("Location", self.server.url + "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver(client: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setattr(get_settings(), "webhook_private_addresses", True)
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def add(project: Project, admin: Person, url: str, *events: Event) -> Webhook:
    with writing() as session:
        chosen = [event.value for event in events or (Event.run_finished,)]
        return service.create(session, project, url=url, events=chosen, by=admin)


def only_delivery() -> Delivery:
    with reading() as session:
        return session.scalars(select(Delivery)).one()


def later(**by: float) -> None:
    """What waits is due by then."""
    with writing() as session:
        for delivery in session.scalars(select(Delivery)):
            delivery.next_at -= timedelta(**by)


def test_a_finished_run_is_told_signed(project: Project, admin: Person, receiver: Receiver) -> None:
    webhook = add(project, admin, receiver.url)
    with writing() as session:
        run = make_running(session, project)
        runs.finish(session, run.id, claim=run.claimed_by or "", result={})
    assert send_due() == 1
    (headers, body), *others = receiver.got
    told = Signer(webhook.secret).verify(body, headers)
    assert others == []
    assert (told["type"], told["data"]["name"], told["data"]["state"]) == ("run.finished", run.name, "succeeded")
    assert headers["webhook-id"] == str(only_delivery().id)
    assert only_delivery().state == DeliveryState.delivered
    assert send_due() == 0


def test_what_is_rolled_back_is_not_told(project: Project, admin: Person, receiver: Receiver) -> None:
    add(project, admin, receiver.url)
    with pytest.raises(RuntimeError), writing() as session:
        run = make_running(session, project)
        runs.finish(session, run.id, claim=run.claimed_by or "", result={})
        raise RuntimeError
    assert (send_due(), receiver.got) == (0, [])


def test_each_address_is_told_what_it_asked_for(project: Project, admin: Person, receiver: Receiver) -> None:
    with writing() as session:
        other = make_project(session)
    paused = add(project, admin, receiver.url)
    with writing() as session:
        service.set_paused(session, session.get_one(Webhook, paused.id), True, by=admin)
    add(project, admin, receiver.url, Event.snapshot_frozen)
    add(other, admin, receiver.url)
    with writing() as session:
        service.publish(session, project.id, Event.run_finished, name="x")
        service.publish(session, project.id, Event.snapshot_frozen, name="y")
    send_due()
    assert [json.loads(body)["data"] for _, body in receiver.got] == [{"name": "y"}]


def test_one_that_is_not_taken_is_sent_again_later_with_the_same_id(
    project: Project, admin: Person, receiver: Receiver
) -> None:
    receiver.answers = [500, 302]
    add(project, admin, receiver.url)
    with writing() as session:
        service.publish(session, project.id, Event.run_finished, name="x")
    assert send_due() == 1
    assert (only_delivery().state, only_delivery().error) == (DeliveryState.waiting, "It answered 500.")
    assert send_due() == 0  # not before its time
    later(seconds=5)
    assert send_due() == 1
    assert only_delivery().error == "It answered 302."  # and nobody was sent elsewhere
    later(minutes=5)
    assert send_due() == 1
    assert only_delivery().state == DeliveryState.delivered
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert len(receiver.got) == 3


def test_it_is_given_up_in_the_end_and_can_be_sent_again(
    sign_in: SignIn, project: Project, admin: Person, receiver: Receiver
) -> None:
    receiver.answers = [500] * 10
    add(project, admin, receiver.url)
    with writing() as session:
        service.publish(session, project.id, Event.run_finished, name="x")
    for _ in range(12):
        send_due()
        later(days=2)
    assert (only_delivery().state, only_delivery().attempts) == (DeliveryState.failed, 10)
    client = sign_in(admin)
    assert "given up after 10" in client.get(f"/p/{project.slug}/webhooks").text
    client.post(f"/p/{project.slug}/webhooks/deliveries/{only_delivery().id}/again")
    assert send_due() == 1
    assert only_delivery().state == DeliveryState.delivered


def test_what_a_dead_scheduler_took_is_sent_by_the_next(project: Project, admin: Person, receiver: Receiver) -> None:
    add(project, admin, receiver.url)
    with writing() as session:
        service.publish(session, project.id, Event.run_finished, name="x")
    with writing() as session:
        taken = service.take_due(session)  # and its process dies
    assert taken is not None
    assert send_due() == 0
    later(minutes=1)
    assert send_due() == 1
    with writing() as session:
        service.settle(session, taken, status=500, error="late")  # it was only slow: the newer attempt counts
    assert only_delivery().state == DeliveryState.delivered


def test_what_waits_for_a_time_of_a_clock_that_ran_ahead_is_sent(
    project: Project, admin: Person, receiver: Receiver
) -> None:
    add(project, admin, receiver.url)
    with writing() as session:
        service.publish(session, project.id, Event.run_finished, name="x")
    later(days=-1)  # as long as any wait
    assert send_due() == 0
    later(days=-400)
    assert (send_due(), only_delivery().state) == (1, DeliveryState.delivered)


def test_what_waits_behind_a_slow_address_is_nobodys_yet(project: Project, admin: Person, receiver: Receiver) -> None:
    add(project, admin, receiver.url)
    with writing() as session:
        for name in "abc":
            service.publish(session, project.id, Event.run_finished, name=name)
    assert (send_due(), receiver.taken) == (3, [1, 1, 1])


def test_nothing_is_sent_to_this_machine_or_its_network(project: Project, admin: Person, receiver: Receiver) -> None:
    add(project, admin, receiver.url)
    with writing() as session:
        service.publish(session, project.id, Event.run_finished, name="x")
    get_settings().webhook_private_addresses = False  # and the address was stored before
    assert send_due() == 1
    assert receiver.got == []
    assert "https" in (only_delivery().error or "")


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1", "fe80::1", "fd00::1",
     "::ffff:127.0.0.1", "224.0.0.1", "::127.0.0.1", "::ffff:0:10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::a00:1",
     "2002:7f00:1::", "2001:0:7f00:1::", "fec0::1", "ff02::1", "198.18.0.1", "240.0.0.1", "255.255.255.255"],
)  # fmt: skip
def test_private_addresses_are_refused_whatever_the_name(
    address: str, client: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", ("93.184.215.14", 443)), (0, 0, 0, "", (address, 443))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(Invalid, match="private network"):
        addresses.check_url("https://innocent.example.org/told")


@pytest.mark.parametrize(
    "url",
    ["", "ftp://example.org", "http://example.org", "https://", "https://me:secret@example.org", "javascript:alert(1)",
     "https://no-such-name.invalid", "https://example.org:99999"],
)  # fmt: skip
def test_other_addresses_are_refused_in_words_and_kept_as_typed(
    url: str, sign_in: SignIn, admin: Person, project: Project
) -> None:
    page = sign_in(admin).post(f"/p/{project.slug}/webhooks", data={"url": url, "events": "run.finished"})
    assert (page.status_code, "Nothing can be sent there" in page.text) == (422, True)
    assert f'value="{url}"' in page.text


def test_the_secret_is_shown_once_and_only_to_admins(
    sign_in: SignIn, admin: Person, researcher: Person, project: Project, receiver: Receiver
) -> None:
    page = f"/p/{project.slug}/webhooks"
    assert sign_in(researcher).get(page).status_code == 403
    client = sign_in(admin)
    added = client.post(page, data={"url": receiver.url, "events": ["run.finished", "batch.stopped"]})
    assert "whsec_" in added.text
    assert "whsec_" not in client.get(page).text
    with reading() as session:
        webhook = session.scalars(select(Webhook)).one()
    client.post(f"{page}/{webhook.id}/try")
    assert send_due() == 1
    assert "delivered" in client.get(page).text
    client.post(f"{page}/{webhook.id}/remove")
    assert "No address yet" in client.get(page).text
    assert client.post(page, data={"url": receiver.url}).status_code == 422  # no event


def test_a_delivery_is_due_at_once(project: Project, admin: Person, receiver: Receiver) -> None:
    add(project, admin, receiver.url)
    with writing() as session:
        service.publish(session, project.id, Event.run_finished, name="x")
    assert only_delivery().next_at <= now()
