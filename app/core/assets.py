"""Addresses of static files, stamped with their content so that browsers may keep them for ever."""

import hashlib
from functools import lru_cache
from pathlib import Path

STATIC = Path(__file__).parent.parent / "static"


@lru_cache(maxsize=256)
def _stamp(path: str, modified: int) -> str:
    return hashlib.sha256((STATIC / path).read_bytes()).hexdigest()[:12]


def asset(path: str) -> str:
    """The address of `app/static/<path>`; a missing file keeps a plain address, and `touchstone doctor` tells."""
    file = STATIC / path
    return f"/static/{path}?v={_stamp(path, file.stat().st_mtime_ns)}" if file.is_file() else f"/static/{path}"
