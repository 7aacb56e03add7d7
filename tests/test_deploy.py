"""A new version takes an old one's place while people label: through a real proxy, on PostgreSQL, without an error."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.accounts.deps import cookie_name
from app.core import migrate
from app.core.config import Settings
from app.core.db import get_engine, writing
from app.core.migrate import current_revision, newest_revision
from tests.app.labeling.rows import make_ranking_batch
from tests.chaos.people import doubled, unlike
from tests.factories import make_project
from tests.ports import free_port
from tests.proxies import BASE, Process, Proxy, wait_for
from tests.system.labelers import Labelers

PARTS = ("app", "workers", "templates", "migrations", "pyproject.toml")
LATER = """
import sqlalchemy as sa
from alembic import op

revision = "later"
down_revision = "{before}"


def upgrade() -> None:
    op.add_column("ranking", sa.Column("mood", sa.String(20), nullable=False, server_default="not asked"))
    op.create_table("motto", sa.Column("project_id", sa.Uuid, sa.ForeignKey("project.id"), primary_key=True))
"""


LABELERS = 6
THINKING = 1.0  # seconds before each ranking


class Strict(Labelers):
    """Who get an answer to everything that they send: one that is missing ends them, as one that is no success does."""

    def _browser(self, token: str) -> httpx.Client:
        return httpx.Client(base_url=self.address, cookies={cookie_name(): token}, timeout=30, verify=False)

    def _send(self, client: httpx.Client, method: str, path: str, **content: Any) -> dict[str, Any]:
        if path.endswith("/desk"):
            self._stop.wait(THINKING)
        answer = client.request(method, path, **content)
        assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        found: dict[str, Any] = answer.json()
        return found

    def stop_labeling(self) -> None:
        """After what is under way; fails with what failed in a thread."""
        self._stop.set()
        for each in self._work:
            each.result(60)


@pytest.fixture
def public_port() -> int:
    return free_port()


@pytest.fixture
def installation_url(postgres_url: str, public_port: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TOUCHSTONE_PUBLIC_URL", f"https://127.0.0.1:{public_port}{BASE}")
    return postgres_url


@pytest.fixture
def new_version(tmp_path: Path) -> Path:
    """This one's code with a migration more, in a folder of its own."""
    folder = tmp_path / "new"
    for part in PARTS:
        source = migrate.ROOT / part
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        folder.mkdir(exist_ok=True)
        copy(source, folder / part)
    (folder / "migrations/versions/later.py").write_text(LATER.format(before=newest_revision()))
    return folder


Start = Callable[[Path], tuple[int, Process]]


@pytest.fixture
def start(installation: Settings, tmp_path: Path) -> Iterator[Start]:
    """`start(code)` is one more web process of that code; gives its port, once it is ready."""
    with ExitStack() as running:

        def _start(code: Path) -> tuple[int, Process]:
            port = free_port()
            process = touchstone(code, "web", log=tmp_path / f"web-{port}.log", port=port)
            running.enter_context(process)
            wait_for(lambda: is_ready(port), what=f"web of {code}")
            return port, process

        yield _start


def touchstone(code: Path, *arguments: str, log: Path, port: int = 8000) -> Process:
    here = {**os.environ, "PYTHONPATH": str(code), "TOUCHSTONE_PORT": str(port)}
    return Process([sys.executable, "-m", "app.cli", *arguments], log=log, environment=here, folder=code)


def is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    ("kind", "webs"),
    [
        ("caddy", 1),
        pytest.param("caddy", 2, marks=pytest.mark.prove),
        pytest.param("nginx", 2, marks=pytest.mark.prove),
    ],
)
def test_a_new_version_takes_the_old_ones_place_and_nobody_notices(
    kind: str, webs: int, start: Start, new_version: Path, public_port: int, certificate: Path, tmp_path: Path
) -> None:
    with writing() as session:
        project = make_project(session)
        make_ranking_batch(session, project, items=100, overlap=LABELERS)
        slug = project.slug
    old = [start(migrate.ROOT) for _ in range(webs)]
    with (
        Proxy(kind, public_port, certificate, tmp_path).start(*(port for port, _ in old)) as proxy,
        Strict(proxy.address, get_engine(), slug, LABELERS) as people,
    ):
        people.wait_for_next()
        assert touchstone(new_version, "migrate", log=tmp_path / "migrate.log").process.wait(60) == 0
        people.wait_for_next()
        assert all(is_ready(port) for port, _ in old)  # beside tables that are newer than they are
        serving = list(old)
        for each in old:
            serving[serving.index(each)] = start(new_version)
            proxy.reload(*(port for port, _ in serving))
            people.wait_for_next()
            assert each[1].stop() in {0, -signal.SIGTERM}, each[1].log.read_text()
            for _ in range(8):
                people.wait_for_next()
        people.stop_labeling()
    assert current_revision(get_engine()) == "later"
    with get_engine().connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM ranking")) == len(people.acknowledged)
    assert unlike(get_engine(), people.acknowledged) == []
    assert doubled(get_engine()) == []
    print(f"{len(people.acknowledged)} rankings while {webs} were replaced")
