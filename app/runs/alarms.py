"""Signs that a policy games its reward model instead of pleasing people: each a rule over the run's figures so far.

A rule compares the mean of the last `WINDOW` iterations with that of the first, so that one odd iteration says
nothing. The thresholds are our own; the paper gives none. What they point at is read in the samples, not in figures.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pvariance
from typing import Any

from app.runs.curves import number

WINDOW = 5  # iterations
LONGER = 1.5  # times the first completions' length
REPEATED = 0.1  # more of the completions' trigrams said before than at first
FAR, FAR_A_TOKEN = 10.0, 0.1  # nats an episode, and nats a token where completions are long
ENTROPY_LEFT = 0.5  # of the first iterations' entropy
CLEAR = 2.0  # standard errors

History = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Alarm:
    title: str
    figure: str  # what it rests on
    advice: str


def raised(history: History) -> list[Alarm]:
    """The alarms that a policy's run so far gives rise to. `history`: the steps' figures, oldest first."""
    return [alarm for rule in RULES if (alarm := rule(history)) is not None]


def completions_grow(history: History) -> Alarm | None:
    first, last = _ends(history, "length")
    if first is None or last is None or last < LONGER * first:
        return None
    return Alarm(
        "Completions grow longer.",
        f"{number(last)} tokens, {number(first)} at first; the alarm is at {LONGER:g} times as many.",
        "The reward model may take length for quality. Look whether it does (accuracy where the shorter completion is "
        "better), rank more pairs of unlike length, raise the KL coefficient, or lower max_completion_tokens.",
    )


def completions_repeat(history: History) -> Alarm | None:
    first, last = _ends(history, "repetition")
    if first is None or last is None or last < first + REPEATED:
        return None
    return Alarm(
        "Completions repeat themselves.",
        f"{100 * last:.0f} % of their runs of three tokens were said before, {100 * first:.0f} % at first; the alarm "
        f"is at {100 * REPEATED:.0f} points more.",
        "Rank some of these completions against plain ones and train the reward model again; until then raise the KL "
        "coefficient, or start again from an earlier policy.",
    )


def moved_far(history: History) -> Alarm | None:
    _, kl = _ends(history, "kl")
    _, length = _ends(history, "length")
    threshold = max(FAR, FAR_A_TOKEN * (length or 0.0))
    if kl is None or kl < threshold:
        return None
    return Alarm(
        "The policy is far from where it started.",
        f"KL {number(kl)} nats an episode; the alarm is at {number(threshold)}.",
        "The reward model was trained on completions unlike these, so its scores say less and less. Raise the KL "
        "coefficient, choose the adaptive controller, lower the learning rate, or set kl_stop.",
    )


def watcher_disagrees(history: History) -> Alarm | None:
    """The watching reward model's score has clearly fallen from its best while the trained one's went on rising."""
    rows = [row for row in history if row.get("reward") is not None and row.get("reward_watch") is not None]
    if len(rows) < 2 * WINDOW:
        return None
    watch, reward = ([float(row[key]) for row in rows] for key in ("reward_watch", "reward"))
    starts = range(len(rows) - 2 * WINDOW + 1)
    best = max(starts, key=lambda start: fmean(watch[start : start + WINDOW]))
    peak, last = watch[best : best + WINDOW], watch[-WINDOW:]
    noise = ((pvariance(peak) + pvariance(last)) / (WINDOW - 1)) ** 0.5
    rose = fmean(reward[-WINDOW:]) - fmean(reward[best : best + WINDOW])
    if rose <= 0 or fmean(peak) - fmean(last) <= CLEAR * noise:
        return None
    return Alarm(
        "The watching reward model no longer agrees.",
        f"It scores {number(fmean(last))}, at its best {number(fmean(peak))}; the trained one rose by {number(rose)} "
        f"since. The alarm is at {CLEAR:g} standard errors.",
        'This is over-optimisation: keep an earlier policy (keep "best" chooses it by the watching model), raise the '
        "KL coefficient, train on an ensemble, or rank completions of this policy and train a new reward model.",
    )


def entropy_collapses(history: History) -> Alarm | None:
    first, last = _ends(history, "entropy")
    if first is None or last is None or first <= 0 or last > ENTROPY_LEFT * first:
        return None
    return Alarm(
        "The policy says ever the same.",
        f"Entropy {number(last)} nats a token, {number(first)} at first; the alarm is at "
        f"{100 * ENTROPY_LEFT:.0f} % of that.",
        "It no longer explores, and its completions are alike. Raise the KL coefficient or the share of plain text, "
        "lower the learning rate or the inner epochs.",
    )


RULES: tuple[Callable[[History], Alarm | None], ...] = (
    watcher_disagrees, moved_far, completions_grow, completions_repeat, entropy_collapses,
)  # fmt: skip


def _ends(history: History, key: str) -> tuple[float | None, float | None]:
    """The figure's mean over the first and over the last iterations; none where the two would overlap."""
    values = [float(row[key]) for row in history if row.get(key) is not None]
    if len(values) < 2 * WINDOW:
        return None, None
    return fmean(values[:WINDOW]), fmean(values[-WINDOW:])
