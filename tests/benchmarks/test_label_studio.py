"""What is said to Label Studio and read of it, and what its database is asked for: no server, but a real database."""

import json
import random
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from benchmarks import label_studio
from benchmarks.http import Client
from benchmarks.label_studio import Desk, look_up, ranks_in

TASK = {"id": 7, "data": {"prompt": "Hello", "completions": [{"id": f"7-{n}", "body": "..."} for n in range(5)]}}


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{tmp_path / 'label_studio.sqlite3'}")
    with engine.begin() as connection:
        columns = "id INTEGER PRIMARY KEY, task_id INTEGER, was_cancelled BOOL, result TEXT"
        connection.execute(text(f"CREATE TABLE task_completion ({columns})"))
    return engine


def store(engine: Engine, annotation: int, *, task: int, order: list[str], cancelled: bool = False) -> None:
    result = [
        {"type": "rating", "value": {"rating": 3}},
        {"type": "ranker", "value": {"ranker": {"best_first": order}}},
    ]
    values = {"id": annotation, "task": task, "cancelled": cancelled, "result": json.dumps(result)}
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO task_completion VALUES (:id, :task, :cancelled, :result)"), values)


def test_a_judgment_ranks_and_rates_every_completion() -> None:
    result = Desk(Client("http://127.0.0.1:1"), 1, random.Random(1)).judge(TASK)["result"]
    assert sorted(ranks_in(result).values()) == [1, 2, 3, 4, 5]
    assert set(ranks_in(result)) == {f"7-{n}" for n in range(5)}
    assert [mark["from_name"] for mark in result if mark["type"] == "rating"] == [f"overall_{n}" for n in range(5)]
    assert all(1 <= mark["value"]["rating"] <= 7 for mark in result if mark["type"] == "rating")


def test_ranks_are_read_out_of_an_annotation() -> None:
    result = [{"type": "ranker", "value": {"ranker": {"best_first": ["7-2", "7-0"]}}}]
    assert ranks_in(result) == {"7-2": 1, "7-0": 2}
    assert ranks_in([]) == {}


def test_what_is_stored_as_acknowledged_is_not_lost(engine: Engine) -> None:
    store(engine, 1, task=7, order=["a", "b"])
    found = look_up(engine, {"1": {"a": 1, "b": 2}})
    assert (found.doubles, found.lost) == (0, 0)


def test_missing_cancelled_and_changed_annotations_are_lost(engine: Engine) -> None:
    store(engine, 1, task=7, order=["b", "a"])
    store(engine, 2, task=8, order=["a", "b"], cancelled=True)
    order = {"a": 1, "b": 2}
    assert look_up(engine, {"1": order, "2": order, "3": order}).lost == 3


def test_a_task_that_two_finished_is_counted_once(engine: Engine) -> None:
    for annotation, task in ((1, 7), (2, 7), (3, 8)):
        store(engine, annotation, task=task, order=["a"])
    assert look_up(engine, {str(n): {"a": 1} for n in (1, 2, 3)}).doubles == 1


def test_label_studio_is_told_our_database_and_to_keep_to_itself(tmp_path: Path) -> None:
    sqlite = label_studio.settings(f"sqlite:///{tmp_path}/there.sqlite3", tmp_path)
    assert (sqlite["DJANGO_DB"], sqlite["DATABASE_NAME"]) == ("sqlite", f"{tmp_path}/there.sqlite3")
    assert sqlite["COLLECT_ANALYTICS"] == "false"
    assert sqlite["SENTRY_DSN"] == ""
    url = "postgresql+psycopg://postgres:@/labels?host=/run/there"
    postgresql = label_studio.settings(url, tmp_path)
    assert [postgresql[f"POSTGRE_{name}"] for name in ("NAME", "USER", "HOST")] == ["labels", "postgres", "/run/there"]


def test_an_installation_that_fails_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_studio, "ENVIRONMENT", tmp_path / "environment")
    monkeypatch.setattr(label_studio, "PACKAGES", ("no such package!",))
    with pytest.raises(SystemExit, match="Leave --also away"):
        label_studio.install()


def test_a_preparation_that_was_cut_short_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    (tmp_path / "label-studio.log").touch()
    with pytest.raises(SystemExit, match=f"remove {tmp_path}"):
        label_studio.prepare("sqlite://", tmp_path, emails=[], fresh=1)
