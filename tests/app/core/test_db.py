"""Transactions and the line of writers."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
import uuid
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import InvalidRequestError, OperationalError
from sqlalchemy.orm import Session

from app.accounts.models import Person, Role
from app.core import db, turns
from app.core.db import make_engine, new_id, reading, reading_one_state, writing
from app.core.turns import FairLock
from tests.factories import make_person


def test_times_come_back_aware_and_in_utc(session: Session) -> None:
    person = make_person(session)
    session.expire(person)
    assert person.created_at.tzinfo is UTC
    with pytest.raises(Exception, match="without a zone"):
        session.execute(select(Person).where(Person.created_at > datetime(2026, 1, 1)))


def test_an_error_rolls_the_whole_transaction_back(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError), writing(engine) as session:
        make_person(session)
        _ = 1 // 0
    with reading(engine) as session:
        assert session.scalar(select(func.count()).select_from(Person)) == 0


def test_thirty_two_writers_all_get_their_turn(engine: Engine) -> None:
    """SQLite alone answers `database is locked` under this; PostgreSQL takes it as it is."""
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for turn in range(4):
                with writing(engine) as session:
                    session.add(Person(email=f"{number}-{turn}@example.org", name="x", role=Role.labeler))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(engine) as session:
        assert (failures, session.scalar(select(func.count()).select_from(Person))) == ([], 128)


def test_a_session_that_reads_refuses_to_write(engine: Engine) -> None:
    with reading(engine) as session:
        session.add(Person(email="a@example.org", name="x", role=Role.labeler))
        with pytest.raises(InvalidRequestError, match="asked to write"):
            session.flush()


def test_a_connection_that_the_server_closed_while_it_lay_idle_is_replaced(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "IDLE_SECONDS", 0.0)
    engine, other = make_engine(postgres_url), make_engine(postgres_url)
    one = text("SELECT pg_backend_pid()")
    with reading(engine) as session:
        server = session.scalar(one)
    with other.connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:server, 10000)"), {"server": server})
    with reading(engine) as session:
        assert session.scalar(one) not in {None, server}
    engine.dispose()
    other.dispose()


def test_new_ids_are_random_and_come_in_the_order_of_time() -> None:
    before = time.time_ns() // 1_000_000
    ids = [new_id() for _ in range(1000)]
    times = [each.int >> 80 for each in ids]
    assert len({each.int & (1 << 62) - 1 for each in ids}) == 1000
    assert times == sorted(times)
    assert before <= times[0] <= times[-1] <= time.time_ns() // 1_000_000
    assert {(each.version, each.variant) for each in ids} == {(7, uuid.RFC_4122)}


def test_fair_lock_serves_in_the_order_of_arrival() -> None:
    lock, served = FairLock(), []
    lock.acquire()
    threads = []
    for number in range(5):
        thread = threading.Thread(target=lambda n=number: (lock.acquire(), served.append(n), lock.release()))
        thread.start()
        while len(lock._waiting) <= number:
            pass
        threads.append(thread)
    lock.release()
    for thread in threads:
        thread.join()
    assert served == [0, 1, 2, 3, 4]


def test_reading_piece_by_piece_while_reading_on(engine: Engine) -> None:
    """PostgreSQL's cursors last as long as their transaction; statements beside them go on their own."""
    with writing(engine) as session:
        made = {make_person(session).id for _ in range(25)}
    with reading(engine) as session:
        found = set()
        for person in session.scalars(select(Person).order_by(Person.id).execution_options(yield_per=10)):
            found.add(session.scalar(select(Person.id).where(Person.name == person.name)))
        assert found == made


def test_one_state_stays_as_it_was_while_others_write(engine: Engine) -> None:
    everyone = select(func.count()).select_from(Person)
    with reading_one_state(engine) as session:
        assert session.scalar(everyone) == 0
        with writing(engine) as other:
            make_person(other)
        assert session.scalar(everyone) == 0
        assert session.scalars(select(Person).execution_options(yield_per=10)).all() == []
        with pytest.raises(InvalidRequestError, match="asked to write"):
            make_person(session)
    with reading(engine) as session:
        assert session.scalar(everyone) == 1


HOLDS_THE_TURN = """
import sys
from sqlalchemy import text
from app.core.db import make_engine, writing
with writing(make_engine(sys.argv[1])) as session:
    session.execute(text("SELECT 1"))
    print("mine", flush=True)
    sys.stdin.readline()
"""


def test_writers_of_several_processes_take_turns(sqlite_url: str) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDS_THE_TURN, sqlite_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "mine\n"
    queue = os.open(f"{sqlite_url.removeprefix('sqlite:///')}-writers", os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(queue, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(queue)
    engine = make_engine(sqlite_url)
    written = threading.Event()

    def write() -> None:
        with writing(engine) as session:
            session.execute(text("SELECT 1"))
        written.set()

    waiting = threading.Thread(target=write)
    waiting.start()
    assert not written.is_set()
    other.communicate("done\n", timeout=20)
    waiting.join(20)
    assert written.is_set()
    engine.dispose()


def test_the_queue_is_told_after_the_turn_and_not_after_a_rollback(sqlite_url: str) -> None:
    """A queue may take seconds to answer, or not to: nobody who writes waits for that."""
    engine, others_could_write = make_engine(sqlite_url), []

    def tell() -> None:
        with writing(engine) as session:
            session.execute(text("SELECT 1"))
        others_could_write.append(True)

    with writing(engine) as session:
        session.info["later"].append(tell)
        assert others_could_write == []
    assert others_could_write == [True]
    with pytest.raises(ZeroDivisionError), writing(engine) as session:
        session.info["later"].append(tell)
        raise ZeroDivisionError
    assert others_could_write == [True]
    engine.dispose()


def test_a_line_that_cannot_be_stood_in_is_said_at_once_and_holds_nobody_up(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(sqlite_url)

    def no_locks(_: int, how: int) -> None:
        raise BlockingIOError if how & fcntl.LOCK_NB else OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as broken:
        broken.setattr(turns.fcntl, "flock", no_locks)
        with pytest.raises(OperationalError, match="No locks available"), writing(engine) as session:
            session.execute(text("SELECT 1"))
    with writing(engine) as session:
        session.execute(text("SELECT 1"))
    engine.dispose()
