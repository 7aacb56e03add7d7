"""What the command line says when something is wrong: words and a mend, never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.core.queue import Queue
from app.processes import worker_command


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"TOUCHSTONE_PORT": "abc"}, "TOUCHSTONE_PORT=abc"),
        ({"TOUCHSTONE_PORT": "70000"}, "less than or equal to 65535"),
        ({"TOUCHSTONE_DATABASE_URL": "nonsense"}, "Could not parse SQLAlchemy URL"),
        ({"TOUCHSTONE_DATABASE_URL": "postgresql+psycopg://me:secret@127.0.0.1:1/x"}, "connection failed"),
        ({"TOUCHSTONE_DATABASE_URL": "sqlite:///{folder}/empty.db"}, "no such table"),
    ],
)
def test_what_a_person_can_mend_is_said_in_words(settings: dict[str, str], said: str, tmp_path: Path) -> None:
    wrong = {name: value.format(folder=tmp_path) for name, value in settings.items()}
    done = subprocess.run(
        [Path(sys.executable).with_name("touchstone"), "user", "add", "ada@example.org"],
        env={**os.environ, "TOUCHSTONE_STATE_DIR": str(tmp_path / "var"), **wrong},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


def test_an_empty_setting_is_no_setting(tmp_path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("touchstone"), "migrate"],
        env={**os.environ, "TOUCHSTONE_STATE_DIR": str(tmp_path / "var"), "TOUCHSTONE_PORT": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "The database is at" in done.stdout
    assert (tmp_path / "var" / "touchstone.db").exists()


def test_a_worker_serves_one_queue_and_another_word_is_refused() -> None:
    assert worker_command()[-2:] == ("--queues", "touchstone,playground")
    assert worker_command(Queue.sampling)[-2:] == ("--queues", "sampling")
    done = subprocess.run(
        [Path(sys.executable).with_name("touchstone"), "worker", "--queue", "samples"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert all(word in done.stderr for word in ("'samples'", "'touchstone'", "'sampling'"))
