"""How the installation is: workers, queues, runs, memory and disk, read in a moment and without a worker's help."""

import platform
import shutil
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.core import broker
from app.core.clock import is_far, now
from app.core.config import get_settings
from app.core.memory import memory as memory_here
from app.core.queue import Queue
from app.projects.models import Project
from app.prompts.models import ImportState, PromptImport
from app.runs import line
from app.runs.code_version import code_version
from app.runs.models import Run, RunState, Worker
from app.runs.waiting import Wait, waits_of
from app.runs.workers import patience

# A run that nobody took for so long waits for a worker that is not there, or behind others.
LONG_QUEUED = timedelta(minutes=10)
SHOWN = 20  # of what failed, the newest


@dataclass(frozen=True, slots=True)
class WorkerFact:
    worker: Worker
    run: Run | None
    project: Project | None
    is_alive: bool


@dataclass(frozen=True, slots=True)
class RunFact:
    run: Run
    project: Project


@dataclass(frozen=True, slots=True)
class QueuedFact:
    run: Run
    project: Project
    wait: Wait
    had: float  # seconds of the workers that its project had of late


@dataclass(frozen=True, slots=True)
class ImportFact:
    row: PromptImport
    project: Project


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes."""

    used: int
    total: int

    @property
    def free(self) -> int:
        return self.total - self.used


def workers(session: Session) -> list[WorkerFact]:
    """Those that beat within the last day: alive, or silent because they died without a word."""
    query = (
        select(Worker, Run, Project)
        .outerjoin(Run, Run.id == Worker.run_id)
        .outerjoin(Project, Project.id == Run.project_id)
        .order_by(Worker.heartbeat_at.desc())
    )
    at, found = now(), session.execute(query)
    return [WorkerFact(each, run, project, abs(each.heartbeat_at - at) <= patience()) for each, run, project in found]


def runs_by_state(session: Session) -> dict[RunState, int]:
    counted = session.execute(select(Run.state, func.count().label("count_of")).group_by(Run.state))
    return dict.fromkeys(RunState, 0) | {each.state: each.count_of for each in counted}


def stuck_runs(session: Session) -> list[RunFact]:
    """Running without a sign of life, or queued for long."""
    is_silent = (Run.state == RunState.running) & is_far(Run.heartbeat_at, now(), patience())
    is_waiting = (Run.state == RunState.queued) & is_far(Run.queued_at, now(), LONG_QUEUED)
    query = select(Run, Project).join(Project).where(is_silent | is_waiting).order_by(Run.queued_at).limit(SHOWN)
    return [RunFact(run, project) for run, project in session.execute(query)]


def queued_runs(session: Session) -> list[QueuedFact]:
    """Those that go first, in their order."""
    first = [each.id for each in line.in_order(session)[:SHOWN]]
    query = select(Run, Project).join(Project).where(Run.id.in_(first))
    found = {run.id: (run, project) for run, project in session.execute(query)}
    waits, had = waits_of(session, [run for run, _ in found.values()]), line.worked(session)
    return [QueuedFact(*found[id_], waits[id_], had.get(found[id_][1].id, 0.0)) for id_ in first if id_ in waits]


def failed_runs(session: Session) -> list[RunFact]:
    query = select(Run, Project).join(Project).where(Run.state == RunState.failed)
    newest = query.order_by(Run.finished_at.desc()).limit(SHOWN)
    return [RunFact(run, project) for run, project in session.execute(newest)]


def failed_imports(session: Session) -> list[ImportFact]:
    query = select(PromptImport, Project).join(Project, Project.id == PromptImport.project_id)
    newest = query.where(PromptImport.state == ImportState.failed).order_by(PromptImport.finished_at.desc())
    return [ImportFact(row, project) for row, project in session.execute(newest.limit(SHOWN))]


def queue_depths() -> dict[Queue, int] | None:
    """How many messages wait in each queue; none where the queue does not answer."""
    try:
        found = broker.waiting(get_settings(), [queue.value for queue in Queue])
    except broker.BrokerAway:
        return None
    return {Queue(name): depth for name, depth in found.items()}


def disk() -> Space:
    """Of the disk that the state folder lies on."""
    folder = get_settings().state_dir
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    usage = shutil.disk_usage(nearest)
    return Space(usage.total - usage.free, usage.total)


def memory() -> Space | None:
    """Of this machine, or as much of it as this process may have; none where the system does not say."""
    found = memory_here()
    return Space(found.total - found.free, found.total) if found else None


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the page of the system shows at once."""

    workers: list[WorkerFact]
    depths: dict[Queue, int] | None
    states: dict[RunState, int]
    line: list[QueuedFact]
    stuck: list[RunFact]
    failed: list[RunFact]
    imports: list[ImportFact]
    disk: Space
    memory: Space | None
    versions: dict[str, str]


def read(session: Session) -> Facts:
    return Facts(
        workers(session), queue_depths(), runs_by_state(session), queued_runs(session),
        stuck_runs(session), failed_runs(session),
        failed_imports(session), disk(), memory(), versions(session),
    )  # fmt: skip


def versions(session: Session) -> dict[str, str]:
    """What runs here, as a report of a fault should name it."""
    dialect = session.get_bind().dialect
    number = ".".join(str(part) for part in getattr(dialect, "server_version_info", None) or ())
    name = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}.get(dialect.name, dialect.name)
    return {
        "Touchstone": code_version(),
        "Python": platform.python_version(),
        name: number,
    }
