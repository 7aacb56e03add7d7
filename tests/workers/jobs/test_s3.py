"""Runs whose artefacts lie in S3: what one machine checkpointed, another goes on from, to the same model."""

import uuid
from pathlib import Path

import pytest
from sqlalchemy import select

from app.backups import making, restoring
from app.core.db import make_engine, reading
from app.core.migrate import migrate_database
from app.core.storage import Artefacts, get_artefacts
from app.runs import service
from app.runs.configs import RunKind
from app.runs.models import RunLogLine, RunState
from tests.workers.jobs.conftest import World
from tests.workers.jobs.test_run import StopsAt, _bytes, _read
from workers.jobs.mirror import Mirror
from workers.jobs.pulse import Pulse
from workers.jobs.run import work_on

pytestmark = pytest.mark.train


@pytest.fixture(autouse=True)
def _in_s3(store_in_s3: str) -> None:
    """Before the world, which puts its base model there."""


def _on_another_machine(tmp_path: Path) -> None:
    """The same database and bucket, and nothing on the disk."""
    get_artefacts().cache = tmp_path / f"machine-{uuid.uuid4().hex}"


def test_a_run_handed_to_another_machine_ends_in_the_same_model(
    store_in_s3: str,
    world: World,
    tmp_path: Path,
) -> None:
    whole, torn = world.ask_for(RunKind.sft), world.ask_for(RunKind.sft)
    work_on(whole.id, Pulse())
    assert _read(whole.id).error is None
    work_on(torn.id, StopsAt(torn.id, ask=False))
    assert (_read(torn.id).state, _read(torn.id).checkpoint_step) == (RunState.queued, 3)
    _on_another_machine(tmp_path)
    steps: list[int] = []
    record = service.record_step
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(service, "record_step", lambda *a, **k: (steps.append(k["step"]), record(*a, **k))[1])
        work_on(torn.id, Pulse())
    assert _read(torn.id).state == RunState.succeeded
    assert steps == list(range(4, 13))
    assert _bytes(torn) == _bytes(whole)
    assert not any(key.startswith("checkpoints/") for key, _ in get_artefacts().everything())
    place = Artefacts(f"{store_in_s3}-backups", tmp_path / "cache")
    stamp = making.make_backup(get_artefacts(), place)
    back, engine = Artefacts(f"{store_in_s3}-back", tmp_path / "back"), make_engine(f"sqlite:///{tmp_path}/back.db")
    migrate_database(engine)
    restoring.restore(engine, back, place, *restoring.choose(place, stamp))
    assert (back.folder(f"models/{torn.id}") / "model.safetensors").read_bytes() == _bytes(whole)
    engine.dispose()


def test_what_is_put_is_what_another_machine_finds(tmp_path: Path) -> None:
    here, there = get_artefacts(), Artefacts(f"s3://{get_artefacts().root}", tmp_path / "other")
    mirror = Mirror(here, "checkpoints/run")
    (mirror.folder / "step-1").mkdir()
    (mirror.folder / "step-1" / "state.json").write_text("1")
    (mirror.folder / "pieces").write_text("a\n")
    mirror.put()
    (mirror.folder / "pieces").write_text("a\nb\n")
    mirror.put()  # too soon after the first
    found = Mirror(there, "checkpoints/run")
    found.fetch()
    assert (found.folder / "pieces").read_text() == "a\n"
    mirror.put(now=True)
    (mirror.folder / "step-1" / "state.json").unlink()
    mirror.put(now=True)
    assert len(here.files("checkpoints/run")) == 2  # the manifest, and what it names
    found.fetch()
    assert (found.folder / "pieces").read_text() == "a\nb\n"
    assert not (found.folder / "step-1" / "state.json").exists()
    (found.folder / "pieces").write_text("a\nb\nc\n")
    Mirror(there, "checkpoints/run").fetch()  # a worker that starts again where it was is further than the store
    assert (found.folder / "pieces").read_text() == "a\nb\nc\n"


def test_a_store_that_goes_away_under_a_run_ends_no_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run = world.ask_for(RunKind.sft)
    monkeypatch.setattr("workers.jobs.mirror.PUT_EVERY", 0.0)
    put, failures = get_artefacts().fs.put, iter([ConnectionResetError()])

    def fails_once(*given: object, **named: object) -> object:
        for error in failures:
            raise error
        return put(*given, **named)

    monkeypatch.setattr(get_artefacts().fs, "put", fails_once)
    work_on(run.id, Pulse())
    assert _read(run.id).state == RunState.succeeded
    with reading() as session:
        texts = list(session.scalars(select(RunLogLine.text).where(RunLogLine.run_id == run.id)))
    assert sum("stays on this machine" in text for text in texts) == 1
