"""Addresses of static files, stamped with their content so that browsers may keep them for ever."""

import hashlib
import re
from functools import lru_cache
from pathlib import Path

STATIC = Path(__file__).parent.parent / "static"
_IMPORT = re.compile(r"^import [^;]*?\"\./([\w.]+)\";", re.MULTILINE)


@lru_cache(maxsize=256)
def asset(path: str) -> str:
    """The address of `app/static/<path>`, read once for each process as templates are; a missing file keeps a plain
    address, and `touchstone doctor` tells."""
    file = STATIC / path
    if not file.is_file():
        return f"/static/{path}"
    return f"/static/{path}?v={hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"


@lru_cache(maxsize=64)
def modules(path: str) -> tuple[str, ...]:
    """The addresses of all that the module `app/static/<path>` imports, to be asked for at once instead of in turn."""
    found, waiting = set[str](), [path]
    while waiting:
        file = STATIC / waiting.pop()
        imported = {f"{file.parent.relative_to(STATIC)}/{name}" for name in _IMPORT.findall(file.read_text())} - found
        found |= imported
        waiting += imported
    return tuple(f"/static/{each}" for each in sorted(found))
