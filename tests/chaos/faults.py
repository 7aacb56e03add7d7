"""What can go wrong around an installation: each fault lasts as long as its `with` block."""

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass

import psutil
import psycopg
from celery import Celery
from redis import Redis

from app.core.queue import JobName, Queue
from tests.chaos.place import ONE, SEVERAL, Place

Strike = Callable[[Place, random.Random, str], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """`unwell` is the part that /readyz is to name while it lasts, `told` are words that the page of the system is to
    say; without `has_pages` nobody may answer meanwhile."""

    name: str
    strike: Strike
    unwell: str = ""
    told: str = ""
    has_pages: bool = True


AWAY = "The queue does not answer."
FAULTS: dict[str, list[Fault]] = {ONE: [], SEVERAL: []}


def fault(name: str, *, on: tuple[str, ...] = (ONE, SEVERAL), unwell: str = "", told: str = "", has_pages: bool = True):
    def register(strike: Callable[[Place, random.Random, str], Iterator[None]]) -> None:
        for kind in on:
            FAULTS[kind].append(Fault(name, contextmanager(strike), unwell, told, has_pages))

    return register


def _killing(*parts: str) -> Callable[[Place, random.Random, str], Iterator[None]]:
    def strike(place: Place, _chance: random.Random, _run: str) -> Iterator[None]:
        for process in place.all_of(*parts):
            with suppress(psutil.Error):
                process.kill()
        yield

    return strike


def _freezing(*parts: str) -> Callable[[Place, random.Random, str], Iterator[None]]:
    def strike(place: Place, _chance: random.Random, _run: str) -> Iterator[None]:
        frozen = place.all_of(*parts)
        for process in frozen:
            with suppress(psutil.Error):
                process.suspend()
        try:
            yield
        finally:
            for process in frozen:
                with suppress(psutil.Error):
                    process.resume()

    return strike


fault("SIGKILL of web", has_pages=False)(_killing("web"))
fault("SIGKILL of worker")(_killing("worker"))
fault("SIGKILL of scheduler")(_killing("scheduler"))
fault("SIGKILL of Redis", on=(ONE,))(_killing("redis"))
fault("SIGKILL of all parts at once", has_pages=False)(_killing("web", "worker", "importer", "scheduler", "redis"))
fault("SIGSTOP of web", has_pages=False)(_freezing("web"))
fault("SIGSTOP of worker", told="silent", has_pages=False)(_freezing("worker"))
fault("SIGSTOP of scheduler", has_pages=False)(_freezing("scheduler"))
fault("SIGSTOP of Redis", on=(ONE,), unwell="queue", told=AWAY)(_freezing("redis"))


@fault("SIGKILL of `up` itself", has_pages=False)
def _up_dies(place: Place, _chance: random.Random, _run: str) -> Iterator[None]:
    everything = place.children()
    place.process.kill()
    place.process.wait(10)
    _, left = psutil.wait_procs(everything, timeout=10)
    assert not left, f"outlived `up`: {left}"
    yield
    place.start()


@fault("disk full", on=(ONE,), unwell="artefacts")
def _full_disk(place: Place, _chance: random.Random, _run: str) -> Iterator[None]:
    with place.disk.full(place.children()):
        yield


@fault("disk full, and all parts killed", on=(ONE,), has_pages=False)
def _full_disk_at_start(place: Place, _chance: random.Random, _run: str) -> Iterator[None]:
    with place.disk.full(place.children()):
        for process in place.all_of("web", "worker", "scheduler", "redis"):
            with suppress(psutil.Error):
                process.kill()
        yield


@fault("disk read-only", on=(ONE,), unwell="artefacts")
def _read_only(place: Place, _chance: random.Random, _run: str) -> Iterator[None]:
    with place.disk.read_only():
        yield


@fault("disk read-only, web and worker killed", on=(ONE,), has_pages=False)
def _read_only_at_start(place: Place, _chance: random.Random, _run: str) -> Iterator[None]:
    with place.disk.read_only():
        for process in place.all_of("web", "worker", "scheduler"):
            with suppress(psutil.Error):
                process.kill()
        yield


@fault("artefact store broken", unwell="artefacts")
def _no_store(place: Place, _chance: random.Random, _run: str) -> Iterator[None]:
    with place.disk.without("var/artefacts"):
        yield


@fault("clock jumps")
def _clock(place: Place, chance: random.Random, _run: str) -> Iterator[None]:
    with place.clock_off_by(chance.choice([-86_400, -3_600, -90, -10, 10, 90, 3_600])):
        if chance.random() < 0.5:
            for process in place.all_of("worker"):
                with suppress(psutil.Error):
                    process.kill()
        yield


def _sent(place: Place, run_id: str, times: int) -> None:
    celery = Celery(broker=place.redis_url.replace("unix:", "redis+socket:"))
    with celery.connection_for_write() as connection:
        for _ in range(times):
            celery.send_task(JobName.run.value, args=[run_id], queue=Queue.touchstone.value, connection=connection)


@fault("messages doubled and out of order")
def _doubled(place: Place, chance: random.Random, run_id: str) -> Iterator[None]:
    _sent(place, run_id, 8)
    with Redis.from_url(place.redis_url) as redis:
        waiting = redis.lrange(Queue.touchstone.value, 0, -1)
        chance.shuffle(waiting)
        with redis.pipeline() as pipe:
            pipe.delete(Queue.touchstone.value)
            if waiting:
                pipe.rpush(Queue.touchstone.value, *waiting)
            pipe.execute()
    yield
    _sent(place, run_id, 4)


@fault("messages lost and foreign")
def _foreign(place: Place, _chance: random.Random, _run: str) -> Iterator[None]:
    with Redis.from_url(place.redis_url) as redis:
        redis.flushall()
        redis.lpush(Queue.touchstone.value, b"not a message", b"{}", b'{"body": "e30=", "headers": {}}')
    yield


@fault("two workers claim one run", on=(SEVERAL,))
def _claimed_twice(place: Place, _chance: random.Random, run_id: str) -> Iterator[None]:
    """Each worker gets the run again and again, while one of them is frozen for longer than its claim lasts."""
    _sent(place, run_id, 6)
    first = place.all_of("worker")[:1]
    for process in first:
        process.suspend()
    time.sleep(5.5)
    for process in first:
        with suppress(psutil.Error):
            process.resume()
    _sent(place, run_id, 6)
    yield


@fault("SIGKILL of PostgreSQL", on=(SEVERAL,), unwell="database")
def _postgres_dies(place: Place, _chance: random.Random, _run: str) -> Iterator[None]:
    assert place.postgres
    place.postgres.kill()
    yield
    place.postgres.start_again()


@fault("SIGSTOP of PostgreSQL", on=(SEVERAL,), unwell="database")
def _postgres_sleeps(place: Place, _chance: random.Random, _run: str) -> Iterator[None]:
    assert place.postgres
    place.postgres.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        place.postgres.signal(signal.SIGCONT)


@fault("PostgreSQL ends every connection", on=(SEVERAL,))
def _connections_end(place: Place, _chance: random.Random, _run: str) -> Iterator[None]:
    with psycopg.connect(place.database.replace("+psycopg", ""), autocommit=True) as connection:
        mine = "pid <> pg_backend_pid() AND backend_type = 'client backend'"
        connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}")
    yield


@fault("PostgreSQL takes no writes", on=(SEVERAL,), unwell="database")
def _postgres_reads_only(place: Place, _chance: random.Random, _run: str) -> Iterator[None]:
    """As after a failover that led to a standby."""
    with psycopg.connect(place.database.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        connection.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        with psycopg.connect(place.database.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
            connection.execute("SELECT pg_reload_conf()")


@fault("PostgreSQL's disk full", on=(SEVERAL,))
def _postgres_full(place: Place, _chance: random.Random, _run: str) -> Iterator[None]:
    assert place.postgres
    with place.disk.full(place.postgres.everything()):
        yield
    if place.postgres.process.poll() is not None:  # it gave up, as it does where its log cannot grow
        place.postgres.start_again()


@fault("SIGKILL of Redis", on=(SEVERAL,), unwell="queue", told=AWAY)
def _redis_dies(place: Place, _chance: random.Random, _run: str) -> Iterator[None]:
    assert place.redis
    place.redis.kill()
    yield
    place.redis.start_again()


@fault("SIGSTOP of Redis", on=(SEVERAL,), unwell="queue", told=AWAY)
def _redis_sleeps(place: Place, _chance: random.Random, _run: str) -> Iterator[None]:
    assert place.redis
    place.redis.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        place.redis.signal(signal.SIGCONT)


@fault("network cut", on=(SEVERAL,), unwell="database")
def _cut(place: Place, _chance: random.Random, _run: str) -> Iterator[None]:
    assert place.network
    place.network.cut()
    try:
        yield
    finally:
        place.network.mend()


@fault("network cut, Redis and PostgreSQL restarted behind it", on=(SEVERAL,), unwell="database")
def _cut_and_restarted(place: Place, _chance: random.Random, _run: str) -> Iterator[None]:
    """Nobody tells the place that its connections are gone."""
    assert place.network
    assert place.redis
    assert place.postgres
    place.network.cut()
    try:
        place.redis.start_again()
        place.postgres.start_again()
        yield
    finally:
        place.network.mend()


@fault("connections torn down again and again", on=(SEVERAL,))
def _torn(place: Place, _chance: random.Random, _run: str) -> Iterator[None]:
    assert place.network
    ended = threading.Event()

    def tear() -> None:
        while not ended.wait(0.3):
            place.network.hang_up()

    tearing = threading.Thread(target=tear)
    tearing.start()
    try:
        yield
    finally:
        ended.set()
        tearing.join()
