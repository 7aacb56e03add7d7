"""One round: a run and labelers at work, a fault for a few seconds, and what is left once it is over."""

import json
import random
import threading
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx

from app.runs.models import RunState
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.people import People, doubled
from tests.chaos.place import ONE, SEVERAL, Place
from tests.chaos.works import KINDS, Works

LASTS = (0.5, 5.0)  # seconds of a fault; a run is handed on after 4
NOTICED = 6.0  # seconds within which /readyz says what is wrong
WELL_AGAIN = 45.0


@dataclass(slots=True)
class Round:
    """What a seed stands for, and what became of it."""

    seed: int
    place: str
    fault: str
    kind: str
    seconds: float = 0.0
    acknowledged: int = 0
    back_after: float = 0.0  # seconds from the fault's end to the next acknowledged label
    struck: str = ""  # where the run was when the fault began
    run_end: str = ""
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    run_wrong: list[str] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        return [*self.lost, *self.twice, *self.run_wrong, *self.untrue]

    def __str__(self) -> str:
        said = "; ".join(self.wrong) or "nothing lost"
        what = f"seed {self.seed} · {self.place} · {self.fault} · {self.kind} · {self.seconds:.1f} s"
        labels = f"{self.acknowledged} labels, again after {self.back_after:.1f} s"
        return f"{what} · {labels} · run {self.struck} as it struck, {self.run_end} · {said}"


def place_of(seed: int) -> str:
    return (ONE, SEVERAL)[seed % 2]


def _drawn(things: list[object], seed: int, what: str) -> object:
    """Each of them as often as the others: a new order each time that all were drawn."""
    lap, number = divmod(seed // 2, len(things))
    order = random.Random(f"{what} {lap} {seed % 2}").sample(range(len(things)), len(things))
    return things[order[number]]


def drawn(seed: int) -> tuple[Fault, str]:
    fault, kind = _drawn(FAULTS[place_of(seed)], seed, "fault"), _drawn(list(KINDS), seed, "kind")  # type: ignore[arg-type]
    assert isinstance(fault, Fault)
    assert isinstance(kind, str)
    return fault, kind


class Rounds:
    """Plays rounds on one place, in which people label all the while."""

    def __init__(self, place: Place, works: Works, people: People) -> None:
        self.place, self.works, self.people = place, works, people

    def play(self, seed: int) -> Round:
        fault, kind = drawn(seed)
        chance = random.Random(seed)
        began, before = time.monotonic(), len(self.people.acknowledged)
        told = len(self.people.refusals)
        done = Round(seed, self.place.kind, fault.name, kind)
        try:
            self.works.has_whole(kind)
            self.works.keep_items(len(self.people.acknowledged))
            run_id = self._under(fault, kind, chance, done)
            self.works.loop.engine.dispose()  # the fault may have ended the tests' own connections too
            self._wait_until_well(done)
            done.run_end, done.run_wrong = self.works.end_of(kind, run_id)
        except AssertionError as error:  # the next round is played all the same
            done.run_wrong.append(f"the round broke off: {error!r}")
        done.lost = self.people.failures() + self.people.check(self.works.loop.engine)
        done.twice = doubled(self.works.loop.engine)
        done.untrue += wordless(self.people.refusals[told:])
        done.seconds, done.acknowledged = time.monotonic() - began, len(self.people.acknowledged) - before
        return done

    def _under(self, fault: Fault, kind: str, chance: random.Random, done: Round) -> uuid.UUID:
        """The run is asked for before the fault, or while it lasts."""
        key, is_first = f"{done.seed}-{uuid.uuid4().hex[:6]}", chance.random() < 0.7
        with ThreadPoolExecutor(1) as pool, self.place.sign_in(self.works.loop) as client:
            asked = pool.submit(self.works.ask, client, kind, key) if is_first else None
            if asked is not None:
                self._wait_for_step(asked.result(), chance)
            done.struck = self._standing(asked)
            with fault.strike(self.place, chance, str(asked.result() if asked else uuid.uuid4())):
                asked = asked or pool.submit(self.works.ask, client, kind, key)
                self._watch(fault, asked if is_first else None, chance.uniform(*LASTS), done)
            return asked.result()

    def _standing(self, asked: "Future[uuid.UUID] | None") -> str:
        if asked is None:
            return "not asked for"
        run = self.works.row(asked.result())
        return f"{run.state} at {run.step} of {run.total_steps}" if run.state == RunState.running else str(run.state)

    def _wait_for_step(self, run_id: uuid.UUID, chance: random.Random) -> None:
        """Until a moment between its being queued and its last steps."""
        until, step = time.monotonic() + 15, chance.choice([-1, 0, 1, 2, 4])
        while time.monotonic() < until:
            run = self.works.row(run_id)
            if run.state not in (RunState.queued, RunState.running) or step < 0:
                return
            if run.state == RunState.running and run.step >= min(step, (run.total_steps or 99) - 1):
                return
            threading.Event().wait(0.05)

    def _watch(self, fault: Fault, asked: "Future[uuid.UUID] | None", seconds: float, done: Round) -> None:
        """What the pages say while the fault lasts."""
        began = time.monotonic()
        if fault.unwell:
            done.untrue += self._says(fault.unwell, NOTICED)
        if fault.told:
            done.untrue += self._tells(fault.told)
        if fault.has_pages and asked is not None:
            done.untrue += self._shows(asked.result())
        threading.Event().wait(max(0.0, seconds - (time.monotonic() - began)))

    def _says(self, part: str, seconds: float) -> list[str]:
        """/readyz names the part that is not well."""
        until, last = time.monotonic() + seconds, ""
        while time.monotonic() < until:
            last = self._get("/readyz")
            if last.startswith("{") and json.loads(last)["parts"][part] != "ok":
                return []
            time.sleep(0.1)
        return [f"/readyz did not say within {seconds} s that the {part} is unwell: {last[:300]}"]

    def _tells(self, words: str) -> list[str]:
        """The page of the system says so, as an admin reads it."""
        until, last = time.monotonic() + NOTICED, ""
        while time.monotonic() < until:
            last = self._get("/system")
            if words in last:
                return []
            time.sleep(0.2)
        return [f"/system did not say “{words}” within {NOTICED} s: {last[:200]}"]

    def _shows(self, run_id: uuid.UUID) -> list[str]:
        """The run's page is of the state that the run has, or says in words why it cannot be shown."""
        said = self._get(f"/api/v1/runs/{run_id}")
        if not said.startswith("{"):
            return []  # no answer: nothing that is not true
        body = json.loads(said)
        if body.get("status", 200) != 200:
            return wordless([("the run's page", body["status"], said)])
        return [] if body["state"] in set(RunState) else [f"the run's page says {body['state']}"]

    def _get(self, path: str) -> str:
        try:
            return self.works.asking.get(path, timeout=3).text
        except httpx.TransportError as error:
            return repr(error)

    def _wait_until_well(self, done: Round) -> None:
        """Until it says that it is ready, and labels are taken again."""
        began = time.monotonic()
        self.place.keep_second_worker()
        while '"ready"' not in (said := self._get("/readyz")):
            if time.monotonic() - began > WELL_AGAIN:
                done.untrue.append(f"not ready {WELL_AGAIN} s after the fault: {said[:300]}")
                break
            time.sleep(0.1)
        try:
            self.people.wait_for_next()
        except AssertionError as error:
            done.lost.append(f"no label is taken any more: {error}")
        done.back_after = time.monotonic() - began


def wordless(refusals: list[tuple[str, int, str]]) -> list[str]:
    """Answers that say nothing of what is wrong, or something else than that."""
    found = set()
    for what, status, text in refusals:
        try:
            body = json.loads(text)
            is_told = bool(body["detail"] and body["mend"]) and body["type"] != "Unforeseen"
        except (ValueError, KeyError):
            is_told = False
        if not is_told:
            found.add(f"{what.split('/')[-1]}: {status} without words: {text[:160]}")
    return sorted(found)
