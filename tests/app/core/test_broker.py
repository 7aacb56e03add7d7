"""RabbitMQ in Redis's place, while it is away: nothing waits long, nothing fails. tests/system has one that runs."""

import socket
import ssl
import time
import uuid
from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient

from app import doctor_queue
from app.core import broker
from app.core.config import Settings, WrongSettings, get_settings
from app.core.db import writing
from app.core.queue import JobName, enqueue, get_celery, send_now
from app.core.readiness import OK
from app.findings import State
from tests.conftest import forget_settings

Set = Callable[[str], Settings]
NOBODY = "amqp://touchstone:geheim@127.0.0.1:1/touchstone"


@pytest.fixture
def choose(installation: Settings, monkeypatch: pytest.MonkeyPatch) -> Set:
    def choose(url: str) -> Settings:
        monkeypatch.setenv("TOUCHSTONE_BROKER_URL", url)
        forget_settings()
        return get_settings()

    return choose


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that lets in and says nothing, as one that was stopped or ran out of memory."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"amqp://touchstone:geheim@127.0.0.1:{listener.getsockname()[1]}/touchstone"


def test_redis_carries_the_queue_where_nothing_else_is_named(installation: Settings) -> None:
    assert (installation.broker, installation.is_rabbitmq) == (installation.redis, False)


@pytest.mark.parametrize(
    "url", ["amqp:///touchstone", "amqp://u:geheim@h/v?ssl=0", "http://u:geheim@h", "rabbit", "amqp://u:geheim@h:x/v"]
)
def test_what_is_no_brokers_address_is_refused_and_its_password_not_shown(choose: Set, url: str) -> None:
    with pytest.raises(WrongSettings, match="TOUCHSTONE_BROKER_URL") as caught:
        choose(url)
    assert "geheim" not in caught.value.message


def test_tls_means_that_the_certificate_is_checked(choose: Set) -> None:
    choose("amqps://touchstone:geheim@rabbit.example.org/touchstone")
    with get_celery().connection_for_write() as connection:
        assert connection.ssl["cert_reqs"] is ssl.CERT_REQUIRED
        assert connection.ssl["server_hostname"] is None  # py-amqp's word for: as in the address
        assert connection.transport.default_connection_params["port"] == 5671


def test_a_broker_that_is_away_fails_no_commit(choose: Set, caplog: pytest.LogCaptureFixture) -> None:
    choose(NOBODY)
    with writing() as session:
        enqueue(session, JobName.run, uuid.uuid4())
    assert "waits for the sweep" in caplog.text
    assert "geheim" not in caplog.text


def test_a_broker_that_says_nothing_is_given_up_soon(choose: Set, silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "PATIENCE", 0.1)
    choose(silent)
    started = time.monotonic()
    with pytest.raises(broker.UNREACHABLE):
        send_now(JobName.answer, str(uuid.uuid4()))
    assert time.monotonic() - started < 2


def test_ready_without_the_broker_is_degraded_and_names_redis_by_itself(
    choose: Set, request: pytest.FixtureRequest
) -> None:
    choose(NOBODY)
    client: TestClient = request.getfixturevalue("client")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "status": "degraded",
            "parts": {
                "database": OK,
                "queue": "does not answer; labeling works, runs wait",
                "artefacts": OK,
                "redis": "does not answer; the playground waits",
            },
        },
    )


@pytest.mark.parametrize("url", [NOBODY, "redis://:geheim@127.0.0.1:1/0"])
def test_doctor_says_that_the_broker_does_not_answer(choose: Set, url: str) -> None:
    found = doctor_queue.broker(choose(url))
    assert (found.state, "does not answer" in found.found) == (State.wrong, True)
    assert "TOUCHSTONE_BROKER_URL" in found.mend
    assert "geheim" not in found.found + found.mend
