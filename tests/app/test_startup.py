"""What `touchstone up` checks and prepares before it starts anything, and the whole of it as a process."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from app.accounts import service as accounts
from app.accounts.models import Person, PersonState, ProviderIdentity, Role
from app.core.config import LogFormat, Settings
from app.core.db import reading, writing
from app.serving import CannotStart, listen
from app.startup import FIRST_ADMIN, banner, children, claim_state_folder, prepare
from tests.ports import free_port

WAIT = 60.0


def test_a_port_that_is_taken_is_refused_with_one_that_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CannotStart, match=f"Port {port} on 127.0.0.1 is already taken") as refused:
            listen("127.0.0.1", port)
    offered = re.search(r"make run PORT=(\d+)", refused.value.mend)
    assert offered
    assert int(offered[1]) != port
    listen("127.0.0.1", int(offered[1])).close()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.7"])
def test_an_address_that_is_not_this_machines_is_refused(host: str) -> None:
    with pytest.raises(CannotStart) as refused:
        listen(host, 0)
    assert "TOUCHSTONE_HOST" in refused.value.mend


def test_a_state_folder_serves_one_installation_at_a_time(tmp_path: Path) -> None:
    already = rf"already runs on .* \(process {os.getpid()}\)"
    with claim_state_folder(tmp_path), pytest.raises(CannotStart, match=already):
        claim_state_folder(tmp_path)
    claim_state_folder(tmp_path).close()


def test_a_state_folder_is_kept_from_others(tmp_path: Path) -> None:
    claim_state_folder(tmp_path / "var").close()
    assert (tmp_path / "var").stat().st_mode & 0o777 == 0o700


def test_a_state_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStart, match="cannot be written") as refused:
        claim_state_folder(tmp_path / "file" / "var")
    assert "TOUCHSTONE_STATE_DIR" in refused.value.mend


def test_first_admin_gets_a_link_until_a_password_is_set(installation: Settings) -> None:
    first, second = prepare(), prepare()
    assert first
    assert second
    assert first != second
    with writing() as session:
        assert session.scalars(select(Person.email).where(Person.role == Role.admin)).all() == [FIRST_ADMIN]
        accounts.use_link(session, second.rsplit("/", 1)[1], password="three red boats")
    assert prepare() is None


def test_none_is_given_where_an_admin_comes_by_the_provider(installation: Settings) -> None:
    assert prepare()
    with writing() as session:
        admin = accounts.add_person(session, "ada@example.org", name="Ada", role=Role.admin)
        admin.state = PersonState.active
        session.add(ProviderIdentity(person_id=admin.id, issuer="https://id.example.org", subject="ada-1"))
    assert prepare() is None
    with writing() as session:
        session.get_one(Person, admin.id).state = PersonState.paused
    assert prepare()


def test_a_first_project_is_there_and_made_once(installation: Settings) -> None:
    from app.projects import service as projects

    prepare()
    prepare()
    with reading() as session:
        assert projects.count_projects(session) == 1


def test_a_database_that_does_not_answer_is_said_so(installation: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.conftest import forget_settings

    monkeypatch.setenv("TOUCHSTONE_DATABASE_URL", "postgresql+psycopg://someone:secret@127.0.0.1:1/none")
    forget_settings()
    with pytest.raises(CannotStart, match="The database does not answer") as refused:
        prepare()
    assert "secret" not in refused.value.message
    assert "touchstone doctor" in refused.value.mend


def test_a_redis_that_is_given_is_not_started(installation: Settings) -> None:
    with listen("127.0.0.1", 0) as listener:
        own = [child.name for child in children(installation, listener)]
        given = installation.model_copy(update={"redis_url": "redis://elsewhere:6379/0"})
        assert own[:4] == ["redis", "web", "scheduler", "importer"]
        assert [child.name for child in children(given, listener)] == own[1:]


def test_as_many_web_processes_share_the_port_as_are_asked_for(installation: Settings) -> None:
    with listen("127.0.0.1", 0) as listener:
        several = installation.model_copy(update={"web_processes": 3})
        found = [child for child in children(several, listener) if child.name.startswith("web")]
        assert [child.name for child in found] == ["web", "web-2", "web-3"]
        assert {child.pass_fds for child in found} == {(listener.fileno(),)}


def test_banner_names_the_address_and_the_link_while_there_is_one(installation: Settings) -> None:
    assert "http://127.0.0.1:8000/welcome/abc" in banner(installation, "/welcome/abc")
    assert "Sign in" not in banner(installation, None)


def test_as_json_the_banner_holds_no_way_in(installation: Settings) -> None:
    told = banner(installation.model_copy(update={"log_format": LogFormat.json}), "/welcome/abc")
    assert "/welcome/" not in told
    assert f"touchstone user link {FIRST_ADMIN}" in told


class Running:
    """`touchstone up` as a person starts it."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [Path(sys.executable).with_name("touchstone"), "up"],
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("TOUCHSTONE_")},
                "TOUCHSTONE_STATE_DIR": str(folder),
                "TOUCHSTONE_PORT": str(self.port),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def next_line(self, text: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if text in line:
                return line.rstrip()
        pytest.fail(f"no {text!r} in:\n" + "\n".join(self.lines))

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=WAIT) as answer:
            return str(answer.read().decode())

    def children(self) -> dict[str, int]:
        """The direct children's process ids, by a word of their command."""
        found = {}
        for file in Path("/proc").glob("[0-9]*/stat"):
            pid = int(file.parent.name)
            if file.read_text().rsplit(")", 1)[1].split()[1] == str(self.process.pid):
                command = (file.parent / "cmdline").read_bytes().decode().replace("\0", " ")
                words = ("redis-server", "app.serving", "workers.celery_app", "workers.scheduler")
                found.update({word: pid for word in words if word in command})
        return found


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path / "var")
    yield running
    running.process.kill()
    running.process.communicate()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes through /proc")
def test_up_starts_serves_survives_kills_and_stops(running: Running) -> None:
    running.next_line("Touchstone is at")
    link = running.next_line("works once").split()[-1]
    assert "Password" in running.get(link.split(str(running.port), 1)[1])

    before = running.children()
    os.kill(before["app.serving"], signal.SIGKILL)
    # Asked in the very moment of the restart: the supervisor holds the socket, so the answer comes late, not never.
    assert json.loads(running.get("/healthz")) == {"status": "ok"}
    running.next_line("web died (SIGKILL)")
    os.kill(before["redis-server"], signal.SIGKILL)
    running.next_line("redis died (SIGKILL)")

    running.process.send_signal(signal.SIGINT)
    running.next_line("Everything is stopped.")
    assert running.process.wait(WAIT) == 0
    assert running.children() == {}
    assert "Traceback" not in "\n".join(running.lines)
