"""The closed loop: labelers who ask for the next item and hand it in, without a pause, until the time is up."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil

from benchmarks.http import Client, Refused

WARM_UP = 2.0  # seconds
PATIENCE = 60.0  # seconds that a labeler waits for one answer


class Desk(Protocol):
    """One labeler at the desk of one application."""

    client: Client

    async def sign_in(self, email: str) -> None: ...

    async def next(self) -> Any: ...

    def judge(self, task: Any) -> Any: ...

    async def submit(self, task: Any, judgment: Any) -> tuple[str, dict[str, int]]:
        """What the server acknowledged: the name of the stored row, and the ranks that it says it stored."""
        ...


class Site(Protocol):
    """A running application."""

    address: str
    processes: list[psutil.Process]

    def database_processes(self) -> list[psutil.Process]: ...


@dataclass(slots=True)
class Round:
    """What one level measured."""

    labelers: int
    next: list[float] = field(default_factory=list)  # seconds of each, those that ended after the time was up as well
    submit: list[float] = field(default_factory=list)
    cycles: int = 0  # that ended in time
    seconds: float = 0.0
    refused: int = 0  # errors, and answers that took longer than PATIENCE
    cpu: tuple[float, float, float] = (0.0, 0.0, 0.0)  # seconds of the web, the database, the load generator
    other_cpu: float = 0.0  # share of all cores that other programs took
    peak_mib: float = 0.0
    acknowledged: dict[str, dict[str, int]] = field(default_factory=dict)  # ranks by letter, by stored row

    @property
    def cycles_a_second(self) -> float:
        return self.cycles / self.seconds


async def work(site: Site, sit_down: Callable[[Client, int], Desk], emails: Sequence[str], seconds: float) -> Round:
    """One labeler for each of `emails`. The times of warming up are forgotten, what was acknowledged then is not."""
    done = Round(len(emails))
    async with AsyncExitStack() as stack:
        desks = [sit_down(await stack.enter_async_context(Client(site.address)), n) for n in range(len(emails))]
        for desk, email in zip(desks, emails, strict=True):
            await desk.sign_in(email)
        for desk in desks:
            await desk.client.connect()
        stop = asyncio.Event()
        labelers = [asyncio.create_task(_label(desk, done, stop)) for desk in desks]
        await asyncio.sleep(WARM_UP)
        done.next.clear()
        done.submit.clear()
        done.refused = 0
        began, before, idle = time.perf_counter(), _cpu(site), psutil.cpu_times().idle
        ended, _ = await asyncio.wait(labelers, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        done.seconds, done.cycles = time.perf_counter() - began, len(done.submit)
        done.cpu = tuple(after - start for after, start in zip(_cpu(site), before, strict=True))  # type: ignore[assignment]
        all_cpu = done.seconds * (psutil.cpu_count() or 1)
        done.other_cpu = max(0.0, 1 - (psutil.cpu_times().idle - idle + sum(done.cpu)) / all_cpu)
        done.peak_mib = _peak_mib(site)
        stop.set()
        await asyncio.gather(*labelers)
        if ended:
            raise SystemExit("The items ran out before the time was up: ask for more with --fresh.")
    return done


async def _label(desk: Desk, done: Round, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            if not await _cycle(desk, done):
                return
        except (Refused, TimeoutError, OSError, asyncio.IncompleteReadError):
            done.refused += 1
            await desk.client.connect()


async def _cycle(desk: Desk, done: Round) -> bool:
    """False when nothing is left to label."""
    began = time.perf_counter()
    async with asyncio.timeout(PATIENCE):
        task = await desk.next()
    got = time.perf_counter()
    if task is None:
        return False
    judgment = desk.judge(task)
    handing_in = time.perf_counter()
    async with asyncio.timeout(PATIENCE):
        stored, ranks = await desk.submit(task, judgment)
    done.submit.append(time.perf_counter() - handing_in)
    done.next.append(got - began)
    done.acknowledged[stored] = ranks
    return True


def _cpu(site: Site) -> tuple[float, float, float]:
    """Seconds of CPU that the web, the database's server and this load generator have used."""
    return sum(map(_seconds, site.processes)), sum(map(_seconds, site.database_processes())), _seconds(psutil.Process())


def _seconds(process: psutil.Process) -> float:
    """With those of its children that have ended: PostgreSQL starts a process for each connection."""
    return float(sum(process.cpu_times()[:4]))


def _peak_mib(site: Site) -> float:
    """The most memory that any web process ever had resident."""
    found = [Path(f"/proc/{each.pid}/status").read_text() for each in site.processes]
    return max(int(status.partition("VmHWM:")[2].split()[0]) for status in found) / 1024
