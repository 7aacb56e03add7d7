"""Models that stay loaded between the playground's questions, until something else needs the memory, or for a while."""

import gc
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from app.core.config import get_settings


class Shelf:
    """What the last question used, by its place in the artefact store. Loads no torch by itself."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}
        self._lock = threading.RLock()  # of whoever uses what lies here, or lets go of it
        self._idle: threading.Timer | None = None

    def __contains__(self, key: str) -> bool:
        return key in self._kept

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While a question is answered. Some idle minutes after it all is let go, since training may need the memory:
        a worker of the playground alone is never told of a run beside it."""
        with self._lock:
            if self._idle is not None:
                self._idle.cancel()
            try:
                yield
            finally:
                self._idle = idle = threading.Timer(60 * get_settings().playground_idle_minutes, self._let_go)
                idle.daemon = True
                idle.start()

    def _let_go(self) -> None:
        with self._lock:
            if self._idle is threading.current_thread():  # or another question came while this one waited for the lock
                self.clear()

    def get(self, key: str, load: Callable[[], Any]) -> Any:
        if key not in self._kept:
            self._kept[key] = load()
        return self._kept[key]

    def keep_only(self, keys: Collection[str]) -> None:
        """Let go of all others, so that never more lies here than one question needs."""
        with self._lock:
            others = set(self._kept) - set(keys)
            if not others:
                return
            import torch  # it is loaded already: something lies here

            for key in others:
                del self._kept[key]
            gc.collect()
            torch.cuda.empty_cache()

    def clear(self) -> None:
        self.keep_only(())
