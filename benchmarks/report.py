"""What was measured, as tables in Markdown: a row for each level, and both sides with what they are to each other."""

from dataclasses import dataclass

from benchmarks.rounds import Round
from benchmarks.stored import Stored

COLUMNS = (
    "what, database",
    "labelers",
    "cycles/s",
    "next p50 / p95 / p99 ms",
    "submit p50 / p95 / p99 ms",
    "doubles, lost, refused",
    "CPU ms a cycle: web, database, load",
    "web's peak MiB",
    "other CPU",
)
BOTH = ("database", "labelers", "what", "Touchstone", "Label Studio", "times better")


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    round: Round
    stored: Stored

    def __str__(self) -> str:
        done, stored = self.round, self.stored
        cpu = ", ".join(f"{1000 * seconds / max(1, done.cycles):.1f}" for seconds in done.cpu)
        return (
            f"| {self.name} | {done.labelers} | {done.cycles_a_second:.1f} "
            f"| {_joined(spread(done.next))} | {_joined(spread(done.submit))} "
            f"| {stored.doubles}, {stored.lost} of {len(done.acknowledged)}, {done.refused} | {cpu} "
            f"| {done.peak_mib:.0f} | {done.other_cpu:.0%} |"
        )


def heading(columns: tuple[str, ...] = COLUMNS) -> str:
    return f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|"


def compare(database: str, ours: list[Row], theirs: list[Row]) -> str:
    """Both sides level by level. `times better` is above 1 where Touchstone is the faster."""
    lines = [heading(BOTH)]
    for our, their in zip(ours, theirs, strict=True):
        start = f"| {database} | {our.round.labelers} |"
        mine, other = our.round.cycles_a_second, their.round.cycles_a_second
        lines.append(f"{start} cycles/s | {mine:.1f} | {other:.1f} | {_times(mine, other)} |")
        for name in ("next", "submit"):
            mine_ms, other_ms = spread(getattr(our.round, name)), spread(getattr(their.round, name))
            times = " / ".join(_times(slow, fast) for slow, fast in zip(other_ms, mine_ms, strict=True))
            lines.append(f"{start} {name} p50 / p95 / p99 ms | {_joined(mine_ms)} | {_joined(other_ms)} | {times} |")
        lines.append(f"{start} done twice, lost, refused | {_faults(our)} | {_faults(their)} | |")
    return "\n".join(lines)


def spread(seconds: list[float]) -> list[float]:
    """The 50th, 95th and 99th percentile in milliseconds; of nothing, nan."""
    ordered = sorted(seconds) or [float("nan")]
    return [1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.95, 0.99)]


def _faults(row: Row) -> str:
    return f"{row.stored.doubles}, {row.stored.lost}, {row.round.refused} of {len(row.round.acknowledged)}"


def _times(more: float, less: float) -> str:
    return f"{more / less:.1f}" if less else "–"


def _joined(milliseconds: list[float]) -> str:
    return " / ".join(f"{each:,.0f}" for each in milliseconds)
