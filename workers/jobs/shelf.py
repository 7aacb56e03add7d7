"""Models that stay loaded between the playground's questions, until something else needs the memory."""

import gc
from collections.abc import Callable, Collection
from typing import Any


class Shelf:
    """What the last question used, by its place in the artefact store. Loads no torch by itself."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._kept

    def get(self, key: str, load: Callable[[], Any]) -> Any:
        if key not in self._kept:
            self._kept[key] = load()
        return self._kept[key]

    def keep_only(self, keys: Collection[str]) -> None:
        """Let go of all others, so that never more lies here than one question needs."""
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
