"""Real processes for tests: a Redis and a worker, started and killed as a machine would."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from app.core.config import Settings
from app.core.embedded_redis import server_command
from app.core.queue import Queue
from app.processes import worker_command

LONGEST_WAIT = 120.0


def eventually(is_so: Callable[[], bool], *, what: str, timeout: float = LONGEST_WAIT) -> None:
    """Wait for another process to bring something about; fails when it does not."""
    deadline = time.monotonic() + timeout
    while not is_so():
        assert time.monotonic() < deadline, f"{what}: did not happen in {timeout:.0f} s"
        time.sleep(0.05)


def _answers(socket: Path) -> bool:
    client = redis.Redis(unix_socket_path=str(socket))
    try:
        return bool(client.ping())
    except (redis.ConnectionError, redis.BusyLoadingError):
        return False
    finally:
        client.close()


@contextmanager
def running_redis(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    socket = settings.redis_socket
    process = subprocess.Popen(server_command(socket, settings.state_dir / "redis.log"))
    try:
        eventually(lambda: _answers(socket), what="Redis answers")
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def running_worker(
    settings: Settings, *, queue: Queue = Queue.touchstone, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of this installation. Its output goes to worker.log in the state folder."""
    told = {
        **os.environ,
        "TOUCHSTONE_HEARTBEAT_SECONDS": "0.2",
        "TOUCHSTONE_STALE_AFTER_SECONDS": "2",
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    with (settings.state_dir / "worker.log").open("ab") as log:
        process = subprocess.Popen(worker_command(queue), env=told, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
