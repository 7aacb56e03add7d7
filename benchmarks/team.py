"""A whole team at once: labelers at the pace of people, through two web processes on PostgreSQL, and a run beside.

    python -m benchmarks.team                                     # 1,000 labelers for ten minutes
    python -m benchmarks.team --labelers 200 --seconds 60 --think 20

`touchstone up` runs everything: the web processes, the worker, the scheduler and Redis. Every labeler has a connection
of a browser's habits: opens one, asks for the page of the next item, reads and thinks, saves a draft on the way, hands
the ranking in and asks for the next. How long they think is drawn from a log-normal distribution (sigma 0.6) around a
mean; none of them waits for another. Meanwhile the worker trains the starter's model, so that the machine is never
idle. At the end every acknowledged ranking is looked up in the database.
"""

import argparse
import asyncio
import math
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil
from sqlalchemy import Engine, func, select

from app.accounts import service as accounts
from app.accounts.deps import COOKIE
from app.accounts.models import Person, PersonState, Role
from app.core.db import reading, writing
from app.labeling.models import Assignment, AssignmentState
from app.projects.models import Project
from app.registry.models import Model
from app.runs.models import Run, RunMetric
from app.serving import is_touchstone
from app.starter.load import SLUG
from benchmarks.desk import Desk, Task
from benchmarks.http import Client, Refused
from benchmarks.report import heading, spread
from benchmarks.stored import Stored, look_up
from benchmarks.website import ROOT, database_processes, postgresql, prepare

PATIENCE = 60.0  # seconds that a labeler waits for one answer
SIGMA = 0.6  # of the logarithm of a thought's length: one in forty takes more than three times the median
COLUMNS = ("what they asked for", "answers", "a second", "p50 ms", "p95 ms", "p99 ms", "longest ms")


T = TypeVar("T")


@dataclass(slots=True)
class Heard:
    """What all labelers heard together; seconds."""

    next: list[float] = field(default_factory=list)
    draft: list[float] = field(default_factory=list)
    submit: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    acknowledged: dict[str, dict[str, int]] = field(default_factory=dict)  # ranks by letter, by stored row


def main() -> None:
    asked = _arguments().parse_args()
    with tempfile.TemporaryDirectory(prefix="touchstone-benchmark-") as made:
        folder = asked.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        with postgresql(folder) as url, _installation(url, folder, processes=asked.processes) as (address, started):
            fresh = asked.fresh or int(asked.labelers * (2 + 1.5 * asked.seconds / asked.think))
            world = prepare(url, people=asked.labelers, fresh=fresh, items=0, rankings=0)
            print(f"{world.counts}; {asked.labelers} labelers think {asked.think:.0f} s at the mean", flush=True)
            cookies = _sign_in(world.engine, world.emails)
            run_id = _start_run(world.engine, address)
            before = _cpu(started, folder)
            heard = asyncio.run(_label(address, world.slug, cookies, asked.seconds, asked.think))
            cpu = {name: after - before[name] for name, after in _cpu(started, folder).items()}
            _print(heard, look_up(world.engine, heard.acknowledged), cpu, asked.seconds)
            _print_stored(world.engine, heard)
            _print_run(world.engine, run_id)
            world.engine.dispose()


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labelers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--think", type=float, default=60, help="mean seconds from an item's page to its ranking")
    parser.add_argument("--processes", type=int, default=2, help="web processes")
    parser.add_argument("--fresh", type=int, default=0, help="items that wait; by default enough for all")
    parser.add_argument("--folder", type=Path, help="keep the database and the state here")
    return parser


@contextmanager
def _installation(url: str, folder: Path, *, processes: int) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """`touchstone up` until the pages answer; its address and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "TOUCHSTONE_STATE_DIR": str(folder / "state"),
        "TOUCHSTONE_DATABASE_URL": url,
        "TOUCHSTONE_PORT": str(port),
        "TOUCHSTONE_WEB_PROCESSES": str(processes),
        "PYTHONPATH": str(ROOT),
    }
    with (folder / "touchstone.log").open("wb") as log:
        command = [sys.executable, "-m", "app.cli", "up"]
        started = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + 120
        while not is_touchstone("127.0.0.1", port):
            if started.poll() is not None or time.monotonic() > until:
                raise SystemExit((folder / "touchstone.log").read_text())
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}", started
    finally:
        started.send_signal(signal.SIGINT)
        started.wait(60)


def _sign_in(engine: Engine, emails: Sequence[str]) -> list[str]:
    with writing(engine) as session:
        people = {each.email: each for each in session.scalars(select(Person).where(Person.email.in_(emails)))}
        return [accounts.start_session(session, people[email]) for email in emails]


def _start_run(engine: Engine, address: str) -> str:
    """As an admin would: supervised fine-tuning of the starter's model, for longer than the labelers work."""
    with writing(engine) as session:
        admin = Person(email="runs@example.org", name="Runs", role=Role.admin, state=PersonState.active)
        session.add(admin)
        session.flush()
        token = accounts.start_session(session, admin)
        project = session.scalars(select(Project).where(Project.slug == SLUG)).one()
        base = session.scalars(select(Model.id).where(Model.project_id == project.id)).first()
    asked = {"kind": "sft", "name": "beside", "parts": {"base": str(base)},
             "config": {"epochs": 64, "batch_size": 1, "micro_batch_size": 1, "threads": 1}}  # fmt: skip
    return str(asyncio.run(_ask_for_run(address, token, asked))["id"])


async def _ask_for_run(address: str, token: str, asked: dict[str, object]) -> dict[str, object]:
    async with Client(address) as client:
        client.cookies[COOKIE] = token
        made: dict[str, object] = await client.send_json("POST", f"/api/v1/projects/{SLUG}/runs", asked)
        return made


async def _label(address: str, slug: str, cookies: Sequence[str], seconds: float, think: float) -> Heard:
    heard = Heard()
    until = time.monotonic() + seconds
    await asyncio.gather(
        *(_work(Client(address), slug, cookie, n, until, think, heard) for n, cookie in enumerate(cookies))
    )
    return heard


async def _work(client: Client, slug: str, cookie: str, number: int, until: float, think: float, heard: Heard) -> None:
    """One labeler until the time is up: the first begins at once, the last one mean thought later."""
    client.cookies[COOKIE] = cookie
    chance = random.Random(number)
    desk = Desk(client, slug, "page", chance)
    await asyncio.sleep(chance.uniform(0, think))
    while time.monotonic() < until:
        try:
            await client.connect()
            task = await _timed(heard.next, desk.next())
            if task is None:
                raise SystemExit("The items ran out before the time was up: ask for more with --fresh.")
            await _think_and_submit(desk, task, chance, think, heard, until)
        except (Refused, TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            heard.errors.append(f"{type(error).__name__}: {error}"[:200])
    client.close()


async def _think_and_submit(
    desk: Desk, task: Task, chance: random.Random, think: float, heard: Heard, until: float
) -> None:
    """A draft halfway, as the page saves one; each on a connection of its own, as browsers' silent ones are closed.
    Who still thinks when the time is up leaves."""
    client, judgment = desk.client, desk.judge(task)
    pause = chance.lognormvariate(math.log(think) - SIGMA**2 / 2, SIGMA) / 2
    if not await _is_time_for(pause, until):
        return
    await client.connect()
    draft = {key: value for key, value in judgment.items() if key != "submission_key"}
    await _timed(heard.draft, client.send_json("PUT", f"/api/v1/assignments/{task.id}/draft", draft))
    if not await _is_time_for(pause, until):
        return
    await client.connect()
    stored, ranks = await _timed(heard.submit, desk.submit(task, judgment))
    heard.acknowledged[stored] = ranks


async def _is_time_for(pause: float, until: float) -> bool:
    left = until - time.monotonic()
    await asyncio.sleep(max(0.0, min(pause, left)))
    return pause < left


async def _timed(times: list[float], answer: Awaitable[T]) -> T:
    began = time.perf_counter()
    async with asyncio.timeout(PATIENCE):
        found = await answer
    times.append(time.perf_counter() - began)
    return found


def _cpu(started: subprocess.Popen[bytes], folder: Path) -> dict[str, float]:
    """Seconds of CPU until now, by part."""
    parts = {"web": 0.0, "worker and the rest": 0.0, "database": sum(map(_seconds, database_processes(folder))),
             "labelers": _seconds(psutil.Process())}  # fmt: skip
    for each in psutil.Process(started.pid).children(recursive=True):
        parts["web" if "app.serving" in each.cmdline() else "worker and the rest"] += _seconds(each)
    return parts


def _seconds(process: psutil.Process) -> float:
    """With those of its children that have ended: PostgreSQL starts a process for each connection."""
    return float(sum(process.cpu_times()[:4]))


def _print(heard: Heard, stored: Stored, cpu: dict[str, float], seconds: float) -> None:
    print(f"\n{heading(COLUMNS)}")
    for name, times in (("the next item's page", heard.next), ("a draft", heard.draft), ("a ranking", heard.submit)):
        shown = " | ".join(f"{each:,.0f}" for each in [*spread(times), 1000 * max(times, default=math.nan)])
        print(f"| {name} | {len(times):,} | {len(times) / seconds:.1f} | {shown} |")
    print(f"\nErrors: {len(heard.errors)}. Items done more often than wanted: {stored.doubles}. "
          f"Acknowledged rankings: {len(heard.acknowledged):,}, lost: {stored.lost}.")  # fmt: skip
    for error in sorted(set(heard.errors))[:5]:
        print(f"  {error}")
    print("CPU seconds: " + ", ".join(f"{name} {used:.0f}" for name, used in cpu.items()))


def _print_stored(engine: Engine, heard: Heard) -> None:
    with reading(engine) as session:
        query = select(func.count()).where(Assignment.state == AssignmentState.submitted)
        print(f"Rankings in the database: {session.scalar(query):,}; acknowledged: {len(heard.acknowledged):,}")


def _print_run(engine: Engine, run_id: str) -> None:
    with reading(engine) as session:
        run = session.scalars(select(Run).where(Run.id == run_id)).one()
        steps = session.scalars(select(RunMetric.step).where(RunMetric.run_id == run.id)).all()
        print(f"The run beside: {run.state.value}, {max(steps, default=0)} steps")


if __name__ == "__main__":
    main()
