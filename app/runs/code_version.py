"""Which code made a run: the package's version, and the commit where it runs from a checkout."""

import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@lru_cache
def code_version() -> str:
    try:
        release = version("touchstone")
    except PackageNotFoundError:
        release = "unknown"
    commit = _commit(Path(__file__).parents[2])
    return f"{release}+{commit}" if commit else release


def _commit(folder: Path) -> str:
    """The checkout's short commit; empty where there is no checkout or no git."""
    if not (folder / ".git").exists():
        return ""
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip()
