"""The figures of runs as TensorBoard reads them, and runs that go on where it cannot be written."""

import socket
import struct
import time
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import select

from app.core.config import Settings
from app.core.db import reading
from app.runs.configs import RunKind
from app.runs.models import Run, RunLogLine, RunMetric, RunState
from tests.workers.jobs.conftest import World
from workers.jobs.pulse import Pulse
from workers.jobs.run import work_on
from workers.jobs.tensorboard import Board

pytestmark = pytest.mark.train


@pytest.fixture
def board(installation: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(installation, "tensorboard_dir", tmp_path / "board")
    return tmp_path / "board"


def _curves(folder: Path) -> dict[str, dict[int, float]]:
    """By name and step, as TensorBoard reads the files of a folder, one after the other."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    curves: dict[str, dict[int, float]] = {}
    for file in sorted(folder.rglob("events.*")):
        content = file.read_bytes()
        while content:
            (size,) = struct.unpack("<Q", content[:8])
            event, content = Event.FromString(content[12 : 12 + size]), content[16 + size :]
            if event.session_log.status == SessionLog.START:  # what came from this step on holds no more
                for kept in curves.values():
                    for step in [each for each in kept if each >= event.step]:
                        del kept[step]
            for value in event.summary.value:
                if value.WhichOneof("value") == "simple_value":
                    curves.setdefault(value.tag, {})[event.step] = value.simple_value
    return curves


def _stored(run: Run) -> dict[str, dict[int, float]]:
    curves: dict[str, dict[int, float]] = {}
    with reading() as session:
        for row in session.scalars(select(RunMetric).where(RunMetric.run_id == run.id)):
            for name, value in row.values.items():
                curves.setdefault(name, {})[row.step] = value
    return curves


def test_a_runs_curves_are_those_of_its_page(world: World, board: Path) -> None:
    run = world.ask_for(RunKind.sft, epochs=2)
    work_on(run.id, Pulse())
    (folder,) = (board / world.project.slug).iterdir()
    assert folder.name.endswith(str(run.id)[:8])
    stored = _stored(run)
    read = _curves(folder)
    assert read.keys() == stored.keys()
    for name in stored:
        assert read[name] == pytest.approx(stored[name], rel=1e-6), name


def test_a_run_that_was_stopped_goes_on_in_the_same_curves(world: World, board: Path) -> None:
    run = world.ask_for(RunKind.sft, epochs=2)
    going = Pulse()
    going.is_shutting_down = True
    work_on(run.id, going)
    work_on(run.id, Pulse())
    (folder,) = (board / world.project.slug).iterdir()
    assert len(list(folder.rglob("events.*"))) == 2
    assert {name: sorted(steps) for name, steps in _curves(folder).items()} == {
        name: sorted(steps) for name, steps in _stored(run).items()
    }


def test_where_it_cannot_be_written_the_run_goes_on_and_says_so_once(world: World, board: Path) -> None:
    board.write_text("a file where the folder should be")
    run = world.ask_for(RunKind.sft, epochs=1)
    work_on(run.id, Pulse())
    with reading() as session:
        assert session.get_one(Run, run.id).state == RunState.succeeded
        said = session.scalars(
            select(RunLogLine.text).where(RunLogLine.run_id == run.id, RunLogLine.level == "warning")
        ).all()
    assert len(said) == 1
    assert "TensorBoard's files get no more of this run, which goes on without" in said[0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a file without room")
def test_a_full_disk_neither_holds_a_run_up_nor_takes_its_outcome(world: World, board: Path) -> None:
    run, said = world.ask_for(RunKind.sft, epochs=1), list[str]()
    folder = board / world.project.slug / f"{run.name}-{str(run.id)[:8]}"
    folder.mkdir(parents=True)
    for second in range(60):
        name = f"events.out.tfevents.{int(time.time()) + second}.{socket.gethostname()}.0060"
        (folder / name).symlink_to("/dev/full")
    tried = Board(run, said.append)

    def three_steps() -> None:
        for step in range(3):
            tried.add(step, {f"figure/{number}": 1.0 for number in range(100)})

    adding = Thread(target=three_steps, daemon=True)
    adding.start()
    adding.join(20)
    assert not adding.is_alive(), "it waits for a disk"
    tried.close()
    assert len(said) == 1
    assert "No space left" in said[0]
