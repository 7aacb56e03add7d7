"""Imports on real workers: killed at any moment, fetched from a dataset."""

import json
import uuid
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.accounts.models import Person
from app.core.config import Settings
from app.core.db import reading, writing
from app.core.queue import Queue
from app.projects.models import Project
from app.prompts.intake import service
from app.prompts.intake.settings import HubSource, ImportSettings
from app.prompts.models import ImportState, Prompt, PromptImport, Stage
from app.runs.models import Worker
from tests.app.prompts.intake.at_work import draft, jsonl, start, work
from tests.workers.jobs.processes import eventually, running_redis, running_worker
from workers.jobs.sweep import sweep_once

ROWS = 12_000


def read(import_id: uuid.UUID) -> PromptImport:
    with reading() as session:
        return session.get_one(PromptImport, import_id)


@pytest.mark.prove  # half a minute of dying
def test_a_worker_that_is_killed_again_and_again_loses_nothing_and_takes_nothing_twice(
    installation: Settings, project: Project, admin: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its taking and in its settling; the worker has no torch to load."""
    monkeypatch.setattr(installation, "stale_after_seconds", 1.0)
    rows = [{"prompt": f"Write story number {number}.", "user": number % 50} for number in range(ROWS)]
    import_id = draft(
        project, admin, jsonl(*rows, *rows[:40], ""), settings=ImportSettings(most_of_one=100, cap_by="user")
    )
    with running_redis(installation):
        start(import_id, admin)
        for reached in (1, ROWS // 3, ROWS, -1):
            with running_worker(installation, queue=Queue.imports):

                def is_there(reached: int = reached) -> bool:
                    sweep_once()
                    row = read(import_id)
                    settled = row.stage == Stage.settle and (reached == ROWS and "of" in row.note)
                    return row.state == ImportState.done or settled or (0 < reached < ROWS and row.position >= reached)

                eventually(is_there, what=f"row {reached}")
    row = read(import_id)
    assert row.state == ImportState.done, row.error
    assert row.counts == {"taken": ROWS, "duplicate": 40, "refused": 1, "held_cap": ROWS - 50 * 100}
    with reading() as session:
        in_use = select(func.count()).where(Prompt.is_retired.is_(False), Prompt.held_for.is_(None))
        assert session.scalar(in_use) == 50 * 100
        assert session.scalar(select(func.count()).select_from(Prompt)) == ROWS
        assert session.scalar(select(func.count(Worker.name)).where(Worker.queue == Queue.imports)) is not None


def fetched(project: Project, admin: Person, **named: object) -> PromptImport:
    source = HubSource.model_construct(**named)  # a folder is no name that a person may type
    with writing() as session:
        import_id = service.add_from_hub(session, project, source, by=admin).id
    return work(import_id)


def test_a_dataset_is_fetched_looked_at_and_taken(project: Project, admin: Person, tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    folder.mkdir()
    lines = [{"instruction": f"Say {n}.", "context": ""} for n in range(30)]
    (folder / "train.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    row = fetched(project, admin, dataset=str(folder), rows=20)
    assert (row.state, row.stage) == (ImportState.draft, Stage.check)
    assert row.settings["columns"] == {"prompt": "instruction", "context": "context"}
    start(row.id, admin)
    done = work(row.id)
    assert (done.state, done.counts) == (ImportState.done, {"taken": 20})


def test_a_dataset_that_is_not_there_fails_in_words(
    project: Project, admin: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    row = fetched(project, admin, dataset="nobody/nothing")
    assert row.state == ImportState.failed
    assert "“nobody/nothing” could not be fetched" in str(row.error)
    assert "reaches the Hub" in str(row.error)
