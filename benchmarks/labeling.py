"""How fast the desk is: labelers in a closed loop against the real web process, on SQLite and on PostgreSQL.

    python -m benchmarks.labeling                          # both databases, one, eight and thirty-two labelers
    python -m benchmarks.labeling --items 1000000 --rankings 2000000 --folder /big/disk

Each labeler signs in over HTTP, then asks for the next item and hands it in with ranks, ratings and flags, without a
pause: a shape of stress. What one person feels is the row of one labeler. Every acknowledged ranking is looked up in
the database afterwards.
"""

import argparse
import asyncio
import random
import shutil
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.desk import Desk
from benchmarks.http import Client
from benchmarks.stored import Stored, look_up
from benchmarks.website import Website, World, postgresql, prepare, sqlite

WARM_UP = 2.0  # seconds
COLUMNS = (
    "database, next as",
    "labelers",
    "cycles/s",
    "next p50 / p95 / p99 ms",
    "submit p50 / p95 / p99 ms",
    "doubles, lost",
    "CPU ms a cycle: web, database, load",
    "web's peak MiB",
    "other CPU",
)
HEADING = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


@dataclass(slots=True)
class Round:
    """What one level measured."""

    labelers: int
    next: list[float] = field(default_factory=list)
    submit: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu: tuple[float, float, float] = (0.0, 0.0, 0.0)  # seconds of the web, the database, the load generator
    other_cpu: float = 0.0  # share of all cores that other programs took
    peak_mib: float = 0.0
    acknowledged: dict[str, dict[str, int]] = field(default_factory=dict)  # ranks by letter, by assignment

    def as_markdown(self, name: str, stored: Stored) -> str:
        cycles = len(self.submit)
        cpu = ", ".join(f"{1000 * seconds / cycles:.1f}" for seconds in self.cpu)
        return (
            f"| {name} | {self.labelers} | {cycles / self.seconds:.1f} | {_spread(self.next)} | {_spread(self.submit)} "
            f"| {stored.doubles}, {stored.lost} of {len(self.acknowledged)} | {cpu} | {self.peak_mib:.0f} "
            f"| {self.other_cpu:.0%} |"
        )


def _spread(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    return " / ".join(
        f"{1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]:.0f}" for share in (0.5, 0.95, 0.99)
    )


def main() -> None:
    asked = _arguments().parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="touchstone-benchmark-"))
    try:
        for database in asked.database:
            (folder / database).mkdir(parents=True, exist_ok=True)
            with (postgresql if database == "postgresql" else sqlite)(folder / database) as url:
                _measure(asked, database, url, folder / database)
    finally:
        if asked.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", nargs="+", choices=["sqlite", "postgresql"], default=["sqlite", "postgresql"])
    parser.add_argument("--next", nargs="+", choices=["page", "api"], default=["page"], help="how an item is asked for")
    parser.add_argument("--levels", nargs="+", type=int, default=[1, 8, 32], help="labelers at once")
    parser.add_argument("--processes", type=int, default=1, help="web processes, as TOUCHSTONE_WEB_PROCESSES sets")
    parser.add_argument("--seconds", type=float, default=15, help="of each level, after 2 to warm up")
    parser.add_argument("--fresh", type=int, default=6000, help="items that wait for labelers")
    parser.add_argument("--items", type=int, default=0, help="finished items that are there before")
    parser.add_argument("--rankings", type=int, default=0, help="rankings of those, one or more for each")
    parser.add_argument("--folder", type=Path, help="keep the databases here, and use them again")
    return parser


def _measure(asked: argparse.Namespace, database: str, url: str, folder: Path) -> None:
    people = max(32, *asked.levels)
    world = prepare(url, people=people, fresh=asked.fresh, items=asked.items, rankings=asked.rankings)
    print(f"\n{database}: {world.counts}\n\n{HEADING}", flush=True)
    for way in asked.next:
        for level in asked.levels:
            with Website(url, folder, processes=asked.processes) as site:
                done = asyncio.run(_work(site, world, way, labelers=level, seconds=asked.seconds))
            print(done.as_markdown(f"{database}, {way}", look_up(world.engine, done.acknowledged)), flush=True)
    world.engine.dispose()


async def _work(site: Website, world: World, way: str, *, labelers: int, seconds: float) -> Round:
    """Everyone works until the time is up. The times of warming up are forgotten, what was acknowledged then is not."""
    done = Round(labelers)
    async with AsyncExitStack() as stack:
        desks = [
            Desk(await stack.enter_async_context(Client(site.address)), world.slug, way, random.Random(number))
            for number in range(labelers)
        ]
        for desk, email in zip(desks, world.emails, strict=False):
            await desk.sign_in(email)
        for desk in desks:
            desk.client.close()
            await desk.client.connect()
        stop = asyncio.Event()
        work = [asyncio.create_task(_label(desk, done, stop)) for desk in desks]
        await asyncio.sleep(WARM_UP)
        done.next.clear()
        done.submit.clear()
        began, before, idle = time.perf_counter(), _cpu(site), psutil.cpu_times().idle
        await asyncio.wait(work, timeout=seconds)
        done.seconds = time.perf_counter() - began
        done.cpu = tuple(after - start for after, start in zip(_cpu(site), before, strict=True))  # type: ignore[assignment]
        all_cpu = done.seconds * (psutil.cpu_count() or 1)
        done.other_cpu = max(0.0, 1 - (psutil.cpu_times().idle - idle + sum(done.cpu)) / all_cpu)
        done.peak_mib = site.peak_mib()
        stop.set()
        await asyncio.gather(*work)
    return done


async def _label(desk: Desk, done: Round, stop: asyncio.Event) -> None:
    while not stop.is_set():
        began = time.perf_counter()
        task = await desk.next()
        got = time.perf_counter()
        if task is None:
            return
        judgment = desk.judge(task)
        handing_in = time.perf_counter()
        ranks = await desk.submit(task, judgment)
        done.submit.append(time.perf_counter() - handing_in)
        done.next.append(got - began)
        done.acknowledged[task.id] = ranks


def _cpu(site: Website) -> tuple[float, float, float]:
    """Seconds of CPU that the web, the database's server and this load generator have used."""
    return sum(map(_seconds, site.processes)), sum(map(_seconds, site.database_processes())), _seconds(psutil.Process())


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    main()
