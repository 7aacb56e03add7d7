"""SSRF by webhook: no address that an admin writes makes the server speak to what only it can reach."""

import socket
from typing import Any

import pytest
from sqlalchemy import select

from app.accounts.models import Person
from app.core.config import get_settings
from app.core.db import reading, writing
from app.core.errors import Invalid
from app.projects.models import Project
from app.webhooks import addresses, service
from app.webhooks.models import Delivery, Event
from app.webhooks.sending import send_due
from tests.app.webhooks.test_webhooks import Receiver, add
from tests.app.webhooks.test_webhooks import receiver as receiver

NAME = "told.example.org"
REAL = socket.getaddrinfo


class Names:
    """A resolver that answers for NAME what it is told to, one answer each time it is asked, and else the truth."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)

    def __call__(self, host: Any, *more: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in (NAME, "xn--bcher-kva.example", "bücher.example"):
            return REAL(host, *more, **named)
        assert self.answers, "the name was asked for once more"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (self.answers.pop(0), 443))]


def only_error() -> str | None:
    with reading() as session:
        return session.scalars(select(Delivery)).one().error


SPELLINGS = (
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.1",
    "0",
    "[::1]",
    "[::ffff:7f00:1]",
    "localhost",
    "localhost.",
)


@pytest.mark.parametrize("host", SPELLINGS)
def test_ssrf_an_address_in_any_spelling_is_looked_through(host: str, client: object) -> None:
    with pytest.raises(Invalid, match=r"private network|can't be looked up"):
        addresses.check_url(f"https://{host}/told")


def test_ssrf_a_name_that_changes_its_mind_reaches_nothing(
    project: Project, admin: Person, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "webhook_private_addresses", False)
    monkeypatch.setattr(socket, "getaddrinfo", Names("93.184.215.14", "127.0.0.1"))
    add(project, admin, f"https://{NAME}:{receiver.server_address[1]}/told")
    with writing() as session:
        service.publish(session, project.id, Event.run_finished, name="x")
    assert send_due() == 1
    assert (receiver.got, "private network" in str(only_error())) == ([], True)


@pytest.mark.parametrize("name", [NAME, "bücher.example"])
def test_ssrf_what_was_checked_is_what_is_sent_to(
    project: Project, admin: Person, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The name is asked for once to add it and once to send, and not again by what opens the connection."""
    monkeypatch.setattr(socket, "getaddrinfo", Names("127.0.0.1", "127.0.0.1"))
    port = receiver.server_address[1]
    add(project, admin, f"http://{name}:{port}/told")
    with writing() as session:
        service.publish(session, project.id, Event.run_finished, name="x")
    assert (send_due(), only_error()) == (1, None)
    ((headers, _),) = receiver.got
    assert headers["host"] == f"{name.encode('idna').decode()}:{port}"
