"""A whole Touchstone for a test: `touchstone up` as its own process, on a state folder and a port of its own."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

import httpx
import psutil

from app.core import embedded_redis

PASSWORD = "three red boats"
_LINK = re.compile(r"(http://\S+)(/welcome/\S+)")
# A word at whose end each child is known.
_MARKS = {
    "web": "app.serving",
    "worker": "touchstone,playground",  # its queues
    "importer": "imports",
    "scheduler": "workers.scheduler",
    "redis": "redis-server",
}


class Installation:
    """`with Installation(folder, port) as here:` starts it, waits for the pages, and stops it at the end."""

    started_through: tuple[str, ...] = ()  # a command that starts it

    def __init__(self, folder: Path, port: int, **settings: str) -> None:
        self.folder, self.port = folder, port
        self.address = f"http://127.0.0.1:{port}"
        self.database = settings.get("TOUCHSTONE_DATABASE_URL", f"sqlite:///{folder / 'touchstone.db'}")
        self.said: list[str] = []
        self.environment = {
            **os.environ,
            "TOUCHSTONE_STATE_DIR": str(folder),
            "TOUCHSTONE_PORT": str(port),
            "TOUCHSTONE_SWEEP_SECONDS": "2",
            "TOUCHSTONE_STALE_AFTER_SECONDS": "6",
            "TOUCHSTONE_HEARTBEAT_SECONDS": "1",
            "PYTHONUNBUFFERED": "1",
            **settings,
        }
        for name in ("TOUCHSTONE_DATABASE_URL", "TOUCHSTONE_REDIS_URL", "TOUCHSTONE_BROKER_URL"):
            if name not in settings:
                self.environment.pop(name, None)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """`touchstone up`, until the pages answer."""
        self.said = []
        self.process = subprocess.Popen(
            [*self.started_through, sys.executable, "-m", "app.cli", "up"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.wait_for(self.is_up, what="the pages", seconds=60)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Ctrl-C, or another signal, and wait for the end; once more does nothing."""
        self.process.send_signal(number)
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"did not stop within 40 s; it said:\n{''.join(self.said[-30:])}") from None
        finally:
            self._reader.join(10)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.said.append(line)

    def is_up(self) -> bool:
        try:
            return httpx.get(f"{self.address}/healthz", timeout=2).is_success and any("Ctrl-C" in x for x in self.said)
        except httpx.TransportError:
            return False

    def wait_for(self, is_true: Callable[[], object], *, what: str, seconds: float = 60) -> None:
        """Ask until `is_true`; fails with the last lines that the installation printed."""
        until = time.monotonic() + seconds
        while not is_true():
            lines = "".join(self.said[-30:])
            assert self.process.poll() is None, f"touchstone up ended while waiting for {what}; it said:\n{lines}"
            assert time.monotonic() < until, f"waited {seconds} s for {what}; touchstone up said:\n{lines}"
            threading.Event().wait(0.1)

    @property
    def first_admin_link(self) -> str:
        found = [match for line in self.said if (match := _LINK.search(line))]
        assert found, f"no one-time link in:\n{''.join(self.said)}"
        return found[0].group(2)

    def touchstone(self, *arguments: str) -> str:
        """Run a `touchstone` command on this installation; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "app.cli", *arguments],
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, f"touchstone {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def invite(self, email: str, role: str = "labeler", group: str = "training") -> str:
        """The path of a one-time link for a new person."""
        printed = self.touchstone("user", "add", email, "--role", role, "--group", group)
        match = _LINK.search(printed)
        assert match, printed
        return match.group(2)

    def browse(self, link: str) -> httpx.Client:
        """An HTTP client signed in through a one-time link."""
        client = httpx.Client(base_url=self.address, timeout=30, follow_redirects=True)
        client.post(link, data={"password": PASSWORD}).raise_for_status()
        return client

    def children(self) -> list[psutil.Process]:
        """Every process of this installation but `touchstone up` itself."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def find(self, name: str) -> psutil.Process | None:
        """The running process called `web`, `worker`, `scheduler` or `redis`, if there is one now."""
        for process in self.children():
            with suppress(psutil.Error):
                if any(part.endswith(_MARKS[name]) for part in " ".join(process.cmdline()).split()):
                    return process
        return None

    def child(self, name: str) -> psutil.Process:
        found = self.find(name)
        assert found is not None, f"no {name} is running"
        return found

    def is_back(self, name: str) -> bool:
        """Whether a child that was killed does its work again, as far as that can be seen from outside."""
        if name == "web":
            return self.is_up()
        if name == "redis":
            return embedded_redis.answers(embedded_redis.short_socket(self.folder / "redis.sock"))
        return self.find(name) is not None

    def kill(self, *names: str) -> None:
        """SIGKILL to children, as the kernel does when memory runs out; several at the same moment."""
        for name in names:
            self.wait_for(lambda name=name: self.find(name), what=f"a {name} to kill")
        processes = [self.child(name) for name in names]
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=10)
