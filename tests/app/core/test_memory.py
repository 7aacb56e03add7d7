"""The memory that this process may fill: the machine's, or less where a control group says so."""

from pathlib import Path

import pytest

from app.core.memory import Memory, memory

KIB, GIB = 2**10, 2**30
MACHINE = f"MemTotal: {64 * GIB // KIB} kB\nMemFree: 1 kB\nMemAvailable: {48 * GIB // KIB} kB\nHugePages_Total: 0\n"
V1 = {"memory.limit_in_bytes": 2 * GIB, "memory.usage_in_bytes": GIB, "memory.stat": f"total_inactive_file {GIB // 2}"}
V2 = {"memory.max": 2 * GIB, "memory.current": GIB, "memory.stat": f"anon 7\ninactive_file {GIB // 2}\n"}


def _machine(folder: Path, group: str, files: dict[str, dict[str, object]]) -> Memory | None:
    """A machine whose `/proc` says so, with these control groups."""
    proc, groups = folder / "proc", folder / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(MACHINE)
    (proc / "self" / "cgroup").write_text(group)
    for path, contents in files.items():
        (groups / path).mkdir(parents=True, exist_ok=True)
        for name, words in contents.items():
            (groups / path / name).write_text(str(words))
    return memory(proc, groups)


@pytest.mark.parametrize(
    ("group", "files"),
    [
        ("0::/app/worker\n", {"app/worker": {"memory.max": "max"}, "app": V2}),  # the limit is of the group above
        ("0::/\n", {"": V2}),  # in a container
        ("5:cpu,memory:/docker/1f\n0::/\n", {"memory/docker/1f": V1}),
        ("5:memory:/docker/1f\n", {"memory": V1}),  # in a container: the path is the host's
    ],
)
def test_a_control_groups_limit_counts_without_what_is_only_kept(
    tmp_path: Path, group: str, files: dict[str, dict[str, object]]
) -> None:
    assert _machine(tmp_path, group, files) == Memory(free=2 * GIB - GIB // 2, total=2 * GIB)


def test_without_a_limit_it_is_the_machines(tmp_path: Path) -> None:
    no_limit = {"memory.limit_in_bytes": 2**63 - 4096, "memory.usage_in_bytes": GIB}
    assert _machine(tmp_path, "4:memory:/a\n0::/\n", {"memory/a": no_limit}) == Memory(48 * GIB, 64 * GIB)


def test_where_the_system_does_not_say_it_is_not_known(tmp_path: Path) -> None:
    assert memory(tmp_path, tmp_path) is None
