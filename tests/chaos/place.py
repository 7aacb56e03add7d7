"""Where the rounds happen: a whole installation on a disk, a clock and a network of its own, and its surroundings."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

import httpx
import psutil

from app.accounts import service as accounts
from app.accounts.deps import COOKIE
from app.accounts.models import Role
from app.core.db import writing
from app.core.embedded_redis import short_socket
from tests.chaos.disk import Disk
from tests.chaos.lines import Network, make_network
from tests.chaos.servers import Server, start_postgres, start_redis
from tests.factories import make_person
from tests.ports import free_port
from tests.system.installation import Installation
from tests.system.loop import Loop

ONE, SEVERAL = "one machine", "several machines"
QUICK = {"TOUCHSTONE_SWEEP_SECONDS": "1", "TOUCHSTONE_STALE_AFTER_SECONDS": "4", "TOUCHSTONE_HEARTBEAT_SECONDS": "0.5"}
HERE = Path(__file__).parent


class Place(Installation):
    """One machine: SQLite and the embedded Redis, all on one disk. Several: PostgreSQL and Redis behind a network, two
    web processes, two workers. Whatever it needs is made when it is entered, and gone when it is left."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._stack = ExitStack()
        self.root = Path(tempfile.mkdtemp(prefix="touchstone-chaos-"))
        self._stack.callback(shutil.rmtree, self.root, ignore_errors=True)
        self.root.chmod(0o755)
        self.disk = Disk(self.root / "disk")
        self._stack.callback(self.disk.close)
        self.clock = self.root / "clock"
        self.network: Network | None = None
        self.postgres: Server | None = None
        self.redis: Server | None = None
        self._second_worker: subprocess.Popen[bytes] | None = None
        try:
            surroundings = self._surroundings()
        except BaseException:
            self._stack.close()
            raise
        super().__init__(self.disk.folder / "var", free_port(), **QUICK, **surroundings)
        self.environment["PYTHONPATH"] = os.pathsep.join([str(HERE / "clock"), os.environ.get("PYTHONPATH", "")])
        self.environment["CHAOS_CLOCK"] = str(self.clock)
        if self.network is not None:
            self.started_through = self.network.within
            self.address = f"http://{self.network.pages}:{self.port}"

    def _surroundings(self) -> dict[str, str]:
        if self.kind == ONE:
            return {}
        self.network = make_network()
        self._stack.callback(self.network.close)
        folder = self.disk.folder / "servers"
        folder.mkdir()
        self.postgres_port, self.redis_port = free_port(), free_port()
        self.postgres = start_postgres(folder, self.postgres_port)
        self._stack.callback(self.postgres.kill)
        self.redis = start_redis(folder, self.redis_port)
        self._stack.callback(self.redis.kill)
        postgres, redis = self.network.address(self.postgres_port), self.network.address(self.redis_port)
        return {
            "TOUCHSTONE_DATABASE_URL": f"postgresql+psycopg://postgres@{postgres}/touchstone",
            "TOUCHSTONE_REDIS_URL": f"redis://{redis}/0",
            "TOUCHSTONE_HOST": "0.0.0.0",
            "TOUCHSTONE_WEB_PROCESSES": "2",
        }

    def __enter__(self) -> Self:
        if self.postgres is not None:  # the tests themselves look past the network
            self.database = f"postgresql+psycopg://postgres@127.0.0.1:{self.postgres_port}/touchstone"
        try:
            self.start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self._stop_second_worker()
            self._stack.close()

    def start(self) -> None:
        super().start()
        if self.kind == SEVERAL and self._second_worker is None:
            self.start_second_worker()

    def start_second_worker(self) -> None:
        """On a machine of its own, as far as it can tell."""
        log = (self.root / "second-worker.log").open("ab")
        command = [*self.started_through, sys.executable, "-m", "app.cli", "worker"]
        self._second_worker = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        log.close()

    def keep_second_worker(self) -> None:
        if self._second_worker is not None and self._second_worker.poll() is not None:
            self.start_second_worker()

    def _stop_second_worker(self) -> None:
        if self._second_worker is not None:
            self._second_worker.kill()
            self._second_worker.wait(10)

    def all_of(self, *names: str) -> list[psutil.Process]:
        """Every process that does one of these parts: `web`, `worker`, `importer`, `scheduler`, `redis`."""
        found = [each for name in names for each in self._of(name)]
        return list(dict.fromkeys(found))

    def _of(self, name: str) -> Iterator[psutil.Process]:
        candidates = self.children()
        if name == "worker" and self._second_worker is not None and self._second_worker.poll() is None:
            candidates = [*candidates, psutil.Process(self._second_worker.pid)]
        for process in candidates:
            with suppress(psutil.Error):
                words = " ".join(process.cmdline()).split()
                if process.status() != psutil.STATUS_ZOMBIE and any(each.endswith(_MARKS[name]) for each in words):
                    yield process

    @property
    def redis_url(self) -> str:
        if self.redis is not None:
            return f"redis://127.0.0.1:{self.redis_port}/0"
        return f"unix://{short_socket(self.folder / 'redis.sock')}"

    @contextmanager
    def clock_off_by(self, seconds: float) -> Iterator[None]:
        """The machine's clock jumps, and jumps back at the end."""
        self._set_clock(seconds)
        try:
            yield
        finally:
            self._set_clock(0)

    def _set_clock(self, seconds: float) -> None:
        beside = self.clock.with_suffix(".new")
        beside.write_text(str(seconds))
        beside.replace(self.clock)

    def sign_in(self, loop: Loop) -> httpx.Client:
        """An admin's browser, also on a place whose first link is used up."""
        with writing(loop.engine) as session:
            token = accounts.start_session(session, make_person(session, role=Role.admin))
        return httpx.Client(base_url=self.address, cookies={COOKIE: token}, timeout=10)


_MARKS = {
    "web": "app.serving",
    "worker": "touchstone,playground",
    "importer": "imports",
    "scheduler": "workers.scheduler",
    "redis": "redis-server",
}
