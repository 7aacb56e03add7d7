"""The table of faults, rounds and what was lost, as the README has it."""

from collections import defaultdict
from collections.abc import Iterable

from tests.chaos.rounds import Round

HEAD = (
    "fault", "where", "rounds", "of them while the run worked", "labels taken", "lost", "stored twice",
    "runs that ended by themselves",
    "failed in words, continued", "runs stuck or wrong", "untrue pages", "labels again after, s: median, most",
)  # fmt: skip


def table(rounds: Iterable[Round]) -> str:
    """Markdown, a line for each fault and a sum."""
    grouped: dict[tuple[str, str], list[Round]] = defaultdict(list)
    everything = list(rounds)
    for each in everything:
        grouped[each.fault, each.place].append(each)
    lines = [_line(*key, part) for key, part in sorted(grouped.items())]
    return "\n".join([_row(HEAD), _row(["---"] * len(HEAD)), *lines, _line("**all**", "", everything)])


def _line(fault: str, where: str, rounds: list[Round]) -> str:
    back = sorted(each.back_after for each in rounds)
    continued = sum(each.run_end.startswith("failed in words") for each in rounds)
    cells: list[object] = [
        fault, where, len(rounds), sum(each.struck.startswith("running") for each in rounds),
        f"{sum(each.acknowledged for each in rounds):,}",
        sum(len(each.lost) for each in rounds), sum(len(each.twice) for each in rounds),
        sum(each.run_end == "ended by itself" for each in rounds), continued,
        sum(bool(each.run_wrong) for each in rounds), sum(bool(each.untrue) for each in rounds),
        f"{back[len(back) // 2]:.1f}, {back[-1]:.1f}",
    ]  # fmt: skip
    return _row(cells)


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
