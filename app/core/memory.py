"""The memory of this machine, or of the container that this process may fill."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes."""

    free: int
    total: int


def memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> Memory | None:
    """As Linux tells it, and no more than a control group allows; none on other systems."""
    if not (proc / "meminfo").is_file():
        return None
    facts = _table(proc / "meminfo")
    free, total = 1024 * facts["MemAvailable"], 1024 * facts["MemTotal"]
    for limit, used in _limits(proc, groups):
        free, total = min(free, limit - used), min(total, limit)
    return Memory(max(0, free), total)


def _limits(proc: Path, groups: Path) -> Iterator[tuple[int, int]]:
    """Each limit that this process is under, with what counts towards it: its own group's, and those above."""
    for line in _words(proc / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _walk(groups, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from _walk(groups / "memory", path, *names)


def _walk(root: Path, path: str, limit: str, used: str, cached: str) -> Iterator[tuple[int, int]]:
    """In a container the path may be the host's, which is not there: then the root is the container's own group."""
    group = root / path.lstrip("/")
    for folder in [each for each in (group, *group.parents) if each.is_relative_to(root)]:
        words = _words(folder / limit).strip()
        if words.isdecimal():
            # What is read from files and not in use is given up when memory runs short.
            kept = _table(folder / "memory.stat").get(cached, 0)
            yield int(words), int(_words(folder / used).strip() or 0) - kept


def _words(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def _table(file: Path) -> dict[str, int]:
    """Lines of a name and a number: `MemTotal:  8048920 kB`, `inactive_file 4096`."""
    rows = (line.replace(":", " ").split() for line in _words(file).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}
