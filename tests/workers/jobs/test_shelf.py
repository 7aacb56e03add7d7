"""The playground's models are let go some idle minutes after the last question, and never under a question."""

import pytest

from app.core.config import Settings
from tests.conftest import forget_settings
from tests.workers.jobs.processes import eventually
from workers.jobs.shelf import Shelf

pytestmark = pytest.mark.train  # it lets go of what torch holds


def _idle_for(monkeypatch: pytest.MonkeyPatch, minutes: float) -> None:
    monkeypatch.setenv("TOUCHSTONE_PLAYGROUND_IDLE_MINUTES", str(minutes))
    forget_settings()


def test_idle_minutes_let_all_go(installation: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf()
    with shelf.in_use():
        shelf.get("models/1", list)
    assert "models/1" in shelf
    _idle_for(monkeypatch, 0.001)
    with shelf.in_use():
        pass
    eventually(lambda: "models/1" not in shelf, what="it is let go", timeout=20)


def test_a_question_that_comes_as_the_minutes_end_keeps_its_models(
    installation: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf()
    _idle_for(monkeypatch, 1e-9)
    with shelf.in_use():
        shelf.get("models/1", list)
        with shelf.in_use():
            pass
        at_its_end = shelf._idle  # it has come to its end, and waits for this question to be answered
        _idle_for(monkeypatch, 10)
    assert at_its_end is not None
    at_its_end.join(timeout=20)
    assert not at_its_end.is_alive()
    assert "models/1" in shelf
