"""Alarms of reward hacking: each rule on a run that shows it, and none on a healthy one."""

import random
from collections.abc import Callable

import pytest

from app.runs import alarms
from app.runs.alarms import Alarm, History, raised

STEPS = 25


def healthy(**changes: Callable[[float], float]) -> list[dict[str, float]]:
    """A run as they should go: reward and KL rise, the watching model follows; each change is of the run's share."""
    noise = random.Random(4)
    shapes: dict[str, Callable[[float], float]] = {
        "reward": lambda t: 2 * t,
        "reward_watch": lambda t: 1.2 * t,
        "kl": lambda t: 4 * t,
        "length": lambda t: 60 + 10 * t,
        "repetition": lambda t: 0.05 + 0.03 * t,
        "entropy": lambda t: 2.2 - 0.6 * t,
    }
    shapes |= changes
    return [
        {name: shape(i / STEPS) + noise.gauss(0, 0.01) for name, shape in shapes.items()} | {"loss": 0.1}
        for i in range(STEPS)
    ]


def only(history: History) -> Alarm:
    (alarm,) = raised(history)
    return alarm


def test_a_healthy_run_is_quiet() -> None:
    assert raised(healthy()) == []


def test_a_run_that_has_just_begun_is_quiet() -> None:
    worst = healthy(length=lambda t: 1 + 900 * t, kl=lambda t: 90.0, entropy=lambda t: 2 - 50 * t)
    assert raised(worst[: 2 * alarms.WINDOW - 1]) == []
    assert raised([]) == []


def test_steps_without_figures_are_passed_over() -> None:
    rows = healthy()
    assert raised([*rows, {"reward": None, "kl": None, "length": None, "entropy": None, "repetition": None}]) == []


def test_completions_that_grow_are_named_with_both_lengths() -> None:
    alarm = only(healthy(length=lambda t: 40 * (1 + t)))
    assert alarm.title == "Completions grow longer."
    assert alarm.figure.startswith("75.")
    assert "43." in alarm.figure
    assert "1.5 times" in alarm.figure
    assert "KL coefficient" in alarm.advice


def test_repetition_is_told_in_points() -> None:
    alarm = only(healthy(repetition=lambda t: 0.1 + 0.5 * t))
    assert alarm.title == "Completions repeat themselves."
    assert alarm.figure.startswith("55 %")
    assert "10 points" in alarm.figure


@pytest.mark.parametrize(
    ("length", "kl", "rings"), [(60, 14.0, True), (60, 8.0, False), (300, 14.0, False), (300, 40.0, True)]
)
def test_far_is_ten_nats_or_a_tenth_of_a_nat_a_token(length: float, kl: float, rings: bool) -> None:
    found = raised(healthy(kl=lambda t: kl, length=lambda t: length))
    assert [alarm.title for alarm in found] == ["The policy is far from where it started."] * rings


def test_a_watching_model_that_falls_while_the_trained_one_rises() -> None:
    alarm = only(healthy(reward_watch=lambda t: 3 * t - 3.5 * t * t))
    assert alarm.title == "The watching reward model no longer agrees."
    assert "the trained one rose by 0.96" in alarm.figure
    assert "2 standard errors" in alarm.figure


def test_both_models_falling_together_is_no_over_optimisation() -> None:
    rows = healthy(reward_watch=lambda t: 1 - t, reward=lambda t: 1 - t)
    assert raised(rows) == []


def test_a_watching_model_that_only_wavers_is_quiet() -> None:
    noise = random.Random(1)
    assert raised(healthy(reward_watch=lambda t: 0.4 + noise.gauss(0, 0.2))) == []


def test_entropy_at_half_of_the_first_is_a_collapse() -> None:
    alarm = only(healthy(entropy=lambda t: 2.2 - 1.8 * t))
    assert alarm.title == "The policy says ever the same."
    assert "50 %" in alarm.figure


def test_several_stand_together_the_gravest_first() -> None:
    rows = healthy(kl=lambda t: 60 * t, length=lambda t: 40 + 90 * t, reward_watch=lambda t: -2 * t)
    assert [alarm.title.split()[0] for alarm in raised(rows)] == ["The", "The", "Completions"]
