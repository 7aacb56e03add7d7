"""Behind nginx and Caddy, below a path, by plain HTTP: what `deploy/` sets up is what Touchstone needs."""

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from sqlalchemy import select

from app.accounts import service as accounts
from app.accounts.models import Person, SignIn
from app.core.config import Settings
from app.core.db import reading, writing
from app.serving import config_of, listen
from tests.ports import free_port
from tests.proxies import BASE, Proxy

PASSWORD = "three red boats"
KINDS = [
    pytest.param((kind, takes_off), id=f"{kind} {words}", marks=[pytest.mark.prove] if kind == "nginx" else [])
    for kind in ("caddy", "nginx")
    for takes_off, words in ((True, "takes the path off"), (False, "leaves the path on"))
]


@pytest.fixture
def public_port() -> int:
    return free_port()


@pytest.fixture
def installation_url(sqlite_url: str, public_port: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TOUCHSTONE_PUBLIC_URL", f"https://127.0.0.1:{public_port}{BASE}")
    return sqlite_url


@pytest.fixture
def web(installation: Settings) -> Iterator[int]:
    """The web process as `touchstone web` sets it up, in a thread; gives its port."""
    port = free_port()
    server = uvicorn.Server(config_of(installation))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listen("127.0.0.1", port)]}, daemon=True)
    thread.start()
    yield port
    server.should_exit = True
    thread.join(20)


@pytest.fixture(params=KINDS)
def proxy(
    request: pytest.FixtureRequest, web: int, public_port: int, certificate: Path, tmp_path: Path
) -> Iterator[Proxy]:
    """One of two web processes that it knows can't be reached."""
    kind, takes_off = request.param
    with Proxy(kind, public_port, certificate, tmp_path, takes_off=takes_off).start(free_port(), web) as proxy:
        yield proxy


def test_people_come_in_from_where_they_are_and_stay_below_the_path(proxy: Proxy, admin: Person) -> None:
    with writing() as session:
        accounts.set_password(session.get_one(Person, admin.id), PASSWORD)
    made_up = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http", "Origin": proxy.address.removesuffix(BASE)}
    way = httpx.HTTPTransport(verify=False, local_address="127.0.0.2")
    with httpx.Client(base_url=proxy.address, transport=way, headers=made_up, timeout=20) as client:
        for _ in range(8):  # to either of the two in turn: who can't be reached is passed by
            assert client.get("/healthz").status_code == 200
        assert client.get("/people").headers["location"] == f"{BASE}/sign-in?then=/people"
        for _ in range(2):
            answer = client.post("/sign-in", data={"email": admin.email, "password": PASSWORD, "then": "/people"})
            assert answer.headers["location"] == f"{BASE}/people"
        assert "Secure" in answer.headers["set-cookie"]
        assert answer.headers["strict-transport-security"]
        page = client.get("/people")
        assert f'action="{BASE}/people"' in page.text
        assert client.get("/people/").headers["location"] == f"{BASE}/people"  # and not http, or another host
        assert client.get(f"https://127.0.0.1:{proxy.port}{BASE}").headers["location"].endswith(f"{BASE}/")
        assert client.get(f"https://127.0.0.1:{proxy.port}/people").text.find("Touchstone") == -1
        elsewhere = client.post("/sign-out", headers={"Origin": "https://127.0.0.1:1"})
        assert elsewhere.status_code == 403
    with reading() as session:
        assert set(session.scalars(select(SignIn.address))) == {"127.0.0.2"}
