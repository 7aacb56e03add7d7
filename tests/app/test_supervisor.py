"""The supervisor as its own process with real children, watched through what it prints."""

import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

DEADLINE = 30.0


class Watched:
    """One supervisor at work; every line it prints is kept, its padding aside."""

    def __init__(self, *names: str) -> None:
        self.lines: list[str] = []
        self._pids_read: Counter[str] = Counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.app.supervised", *names],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )

    def next_line(self, text: str) -> str:
        """Read on to the next line with `text` in it; fail with all that was printed when none comes in time."""
        end = time.monotonic() + DEADLINE
        while (line := self._read_line(end)) is not None:
            self.lines.append(line)
            if text in line:
                return line
        pytest.fail(f"no {text!r} in:\n" + "\n".join(self.lines))

    def pid(self, name: str, word: str = "pid") -> int:
        """The next process id that a child says: children speak in any order, so earlier lines count too."""
        text = f"{name} │ {word} "
        known = [line for line in self.lines if text in line][self._pids_read[text] :]
        self._pids_read[text] += 1
        return int((known[0] if known else self.next_line(text)).split()[-1])

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        self.next_line("all stopped")
        return self.process.wait(DEADLINE)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read_line(self, end: float) -> str | None:
        assert self.process.stdout is not None
        line = b""
        while select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
            byte = self.process.stdout.read(1)
            if byte in (b"\n", b""):
                return " ".join(line.decode().split()) if byte else None
            line += byte
        return None


@pytest.fixture
def watch() -> Iterator[Callable[..., Watched]]:
    started: list[Watched] = []

    def start(*names: str) -> Watched:
        started.append(Watched(*names))
        return started[-1]

    yield start
    for watched in started:
        watched.close()


def has_ended(pid: int) -> bool:
    """Whether the process ends in time: the kernel gives notice on the descriptor, nothing sleeps."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], DEADLINE)[0])
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_every_child(watch: Callable[..., Watched], number: signal.Signals) -> None:
    watched = watch("greeted", "steady")
    pids = [watched.pid("greeted"), watched.pid("steady")]
    assert watched.stop(number) == 0
    assert all(has_ended(pid) for pid in pids)


def test_a_killed_child_is_started_again_and_said_so(watch: Callable[..., Watched]) -> None:
    watched = watch("steady")
    first = watched.pid("steady")
    os.kill(first, signal.SIGKILL)
    assert watched.next_line("died") == "steady died (SIGKILL); starting it again in 0.5 s"
    second = watched.pid("steady")
    assert second != first
    watched.stop()
    assert has_ended(second)


def test_a_child_that_keeps_failing_is_tried_ever_more_rarely(watch: Callable[..., Watched]) -> None:
    watched = watch("failing")
    waits = [watched.next_line("died") for _ in range(3)]
    assert waits == [f"failing died (exit status 3); starting it again in {wait} s" for wait in ("0.5", "1", "2")]
    assert watched.lines.count("failing │ last words") == 3
    watched.stop()


def test_a_program_that_is_not_there_is_reported_and_the_rest_runs(watch: Callable[..., Watched]) -> None:
    watched = watch("steady", "absent")
    pid = watched.pid("steady")
    assert "No such file" in watched.next_line("absent cannot be started")
    watched.stop()
    assert has_ended(pid)


def test_the_next_child_starts_once_the_one_before_is_ready(watch: Callable[..., Watched]) -> None:
    watched = watch("late", "steady")
    watched.pid("steady")
    order = [line for line in watched.lines if line.startswith("ready late") or "steady │" in line]
    assert order[0] == "ready late"
    assert order[1].startswith("steady │ pid")
    watched.stop()


def test_a_child_gets_its_environment_and_gives_way(watch: Callable[..., Watched]) -> None:
    watched = watch("greeted")
    line = watched.next_line("hello")
    assert line == f"greeted │ hello {os.nice(0) + 3}"
    watched.stop()


def test_a_child_that_will_not_stop_is_ended_by_force(watch: Callable[..., Watched]) -> None:
    watched = watch("stubborn")
    pid = watched.pid("stubborn")
    watched.process.send_signal(signal.SIGINT)
    watched.next_line("stubborn did not stop in time")
    watched.next_line("all stopped")
    assert has_ended(pid)


def test_the_child_that_the_others_lean_on_is_stopped_last(watch: Callable[..., Watched]) -> None:
    watched = watch("steady", "stubborn")
    watched.pid("steady")
    watched.pid("stubborn")
    watched.stop()
    ends = [line for line in watched.lines if "did not stop" in line or "leaving" in line]
    assert ends == ["stubborn did not stop in time; ending it", "steady │ leaving"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_a_child_started_ends_with_it(watch: Callable[..., Watched], number: signal.Signals) -> None:
    watched = watch("parent")
    below = watched.pid("parent", "below")
    parent = watched.pid("parent")
    os.kill(parent, number)
    watched.next_line("parent died")
    assert has_ended(below)
    watched.stop()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's parent-death signal is Linux's")
def test_no_child_outlives_a_supervisor_that_is_killed(watch: Callable[..., Watched]) -> None:
    watched = watch("steady", "stubborn")
    pids = [watched.pid("steady"), watched.pid("stubborn")]
    watched.process.kill()
    assert all(has_ended(pid) for pid in pids)
