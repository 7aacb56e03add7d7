"""The client package against a real server, as a researcher's or an admin's script uses it."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from touchstone import Client

from app.accounts import tokens
from app.accounts.models import Person
from app.core.db import writing
from tests.browser.conftest import live_server  # noqa: F401  its fixture

Connect = Callable[..., Client]


@pytest.fixture
def connect(live_server: str) -> Iterator[Connect]:  # noqa: F811
    """`connect(person)` is a client with a new token of theirs; `faults` stands between it and the server."""
    opened: list[Client] = []

    def _connect(person: Person, *, faults: httpx.BaseTransport | None = None) -> Client:
        with writing() as session:
            token = tokens.create_token(session, person, name="script", scope=tokens.Scope.write, days=1)
        opened.append(Client(live_server, token, transport=faults))
        return opened[-1]

    yield _connect
    for client in opened:
        client.connection.http.close()
