"""A RabbitMQ of a test's own: its node, its ports and its folders, so that none that runs here is touched."""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Self

from app.core.broker import BrokerAway, waiting
from app.core.config import Settings
from tests.ports import free_port
from tests.workers.jobs.processes import eventually

# Debian's command on the PATH would become another user; that one is behind it.
PROGRAMS = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")
PASSWORD = "geheim-7"
# It waits two seconds for a worker to be done with a message instead of half an hour, and looks each half second.
SETTINGS = "[{rabbit, [{consumer_timeout, 2000}, {channel_tick_interval, 500}]}]."


class RabbitMQ:
    """`with RabbitMQ(folder) as rabbit:` starts it; `kill` and `start` as a machine that fails and comes back."""

    def __init__(self, folder: Path) -> None:
        programs = [found for each in PROGRAMS if (found := shutil.which(each))]
        assert programs, "There is no rabbitmq-server here. `.ci/rabbitmq` installs Debian's."
        self.program, self.folder = programs[0], folder
        self.port, between_nodes, names = (free_port() for _ in range(3))
        self.url = f"amqp://touchstone:{PASSWORD}@127.0.0.1:{self.port}/touchstone"
        folder.mkdir(parents=True)
        (folder / "advanced.config").write_text(SETTINGS)
        (folder / "plugins").write_text("[].")
        (folder / "rabbitmq.conf").write_text(
            f"default_user = touchstone\ndefault_pass = {PASSWORD}\ndefault_vhost = touchstone\n"
        )
        self.environment = {
            **os.environ,
            "HOME": str(folder),  # of the cookie
            "ERL_EPMD_PORT": str(names),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"touchstone{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(between_nodes),
            "RABBITMQ_MNESIA_BASE": str(folder / "db"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }

    def __enter__(self) -> Self:
        names = ("epmd", "-address", "127.0.0.1", "-port", self.environment["ERL_EPMD_PORT"])
        self.names = subprocess.Popen(names, env=self.environment)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.names.kill()
        self.names.wait()

    def start(self) -> None:
        with (self.folder / "out.log").open("ab") as log:
            # A group of its own: the program starts others.
            self.process = subprocess.Popen(
                [self.program], env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        eventually(self._answers, what=f"RabbitMQ answers (see {self.folder})")

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "out.log").read_text()
        try:
            return self.waiting("touchstone") >= 0
        except BrokerAway:
            return False

    def waiting(self, queue: str) -> int:
        """Messages that no worker holds."""
        return waiting(Settings(broker_url=self.url), [queue])[queue]

    def has_said(self, words: str) -> bool:
        return any(words in log.read_text() for log in (self.folder / "log").glob("*.log"))
