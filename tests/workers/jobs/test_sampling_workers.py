"""Episodes that sampling workers draw for a run: by the job itself, and by real processes that are killed."""

import signal
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from sqlalchemy import select, update
from transformers import LlamaForSequenceClassification

from app.core.clock import now
from app.core.config import Settings
from app.core.db import reading, writing
from app.core.queue import Queue
from app.core.storage import get_artefacts
from app.registry.models import Model, ModelKind
from app.runs import service, shares
from app.runs.configs import RunKind
from app.runs.models import Run, RunLogLine, RunMetric, RunState, SamplingShare
from app.runs.service import ClaimLost
from app.runs.sweep import sweep
from tests.conftest import forget_settings
from tests.factories import make_model
from tests.workers.jobs.conftest import World
from tests.workers.jobs.processes import eventually, running_redis, running_worker
from tests.workers.tiny import tiny_config, tiny_tokenizer
from workers.jobs.claimed import Claimed, open_claimed
from workers.jobs.draw_share import draw, warm
from workers.jobs.pulse import Pulse
from workers.jobs.run import work_on
from workers.jobs.sampling_desk import QueueDesk
from workers.training.checkpoints import trainable
from workers.training.models import load_policy
from workers.training.ppo_shares import PROMPTS, Sampler, Share, unpacked
from workers.training.sampling_workers import Word

pytestmark = pytest.mark.train

SHARE = Share(0, 0, "00000000-first")


@pytest.fixture
def judged(world: World, tmp_path: Path) -> World:
    """The world with a reward model."""
    torch.manual_seed(1)
    folder = tmp_path / "reward"
    LlamaForSequenceClassification(tiny_config(num_labels=1)).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    with writing() as session:
        model = make_model(session, world.project, kind=ModelKind.reward, name="judge")
        model.storage_key, model.parameters, model.context = f"models/{model.id}", 30_000, world.base.context
        get_artefacts().put_folder(model.storage_key, folder)
    return world


def ask_for(world: World, **changes: object) -> uuid.UUID:
    with reading() as session:
        judge = session.scalars(select(Model).filter_by(kind=ModelKind.reward)).one()
    return world.ask_for(RunKind.ppo, parts={"reward_model": str(judge.id)}, **changes).id


def _run(run_id: uuid.UUID) -> Run:
    with reading() as session:
        return session.get_one(Run, run_id)


def _said(run_id: uuid.UUID) -> list[str]:
    with reading() as session:
        return list(session.scalars(select(RunLogLine.text).where(RunLogLine.run_id == run_id)))


def _weights(run_id: uuid.UUID) -> bytes:
    return (get_artefacts().folder(f"models/{run_id}") / "model.safetensors").read_bytes()


def _figures(run_id: uuid.UUID) -> list[dict[str, float]]:
    with reading() as session:
        rows = session.scalars(select(RunMetric).where(RunMetric.run_id == run_id).order_by(RunMetric.step))
        return [{k: v for k, v in row.values.items() if k != "episodes_per_second"} for row in rows]


def _only_share() -> SamplingShare:
    with reading() as session:
        return session.scalars(select(SamplingShare)).one()


# The desk and the job, in this process


@pytest.fixture
def _redis(installation: Settings) -> Iterator[None]:
    with running_redis(installation):
        yield


@pytest.fixture
def claimed(judged: World) -> Claimed:
    """A run that a trainer holds."""
    run_id = ask_for(judged, sampling_workers=2)
    with writing() as session:
        run = service.claim(session, run_id, worker="trainer")
    assert run is not None
    return open_claimed(run, Pulse())


@pytest.fixture
def _elsewhere(claimed: Claimed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's files in a store that is no folder."""
    policy = claimed.models["policy"].storage_key, claimed.model_folder("policy")
    monkeypatch.setenv("TOUCHSTONE_ARTEFACTS_URL", f"memory://{claimed.run.id}")
    forget_settings()
    get_artefacts().put_folder(*policy)


@pytest.fixture
def desk(claimed: Claimed, _redis: None) -> Iterator[QueueDesk]:
    """A trainer's desk with the base model as first version and three prompts."""
    found = QueueDesk(claimed)
    policy = load_policy(claimed.model_folder("policy"))
    save_file({name: t.contiguous() for name, t in trainable(policy).items()}, found.folder / SHARE.weights)
    (found.folder / PROMPTS).write_text("[[5, 6, 7], [8, 9], [10, 11, 12, 13]]")
    found.put_out([PROMPTS, SHARE.weights])
    warm.run_id = None
    yield found
    warm.run_id, warm.sampler = None, None


def _draw() -> None:
    draw(_only_share().id, Pulse())


@pytest.mark.usefixtures("_elsewhere")
def test_a_store_that_is_no_folder_carries_weights_and_answers(request: pytest.FixtureRequest) -> None:
    desk = request.getfixturevalue("desk")
    assert not desk.store.is_local
    desk.ask(SHARE)
    _draw()
    assert not (desk.folder / SHARE.answer).exists()
    assert desk.look(SHARE) is Word.DRAWN
    assert (desk.folder / SHARE.answer).exists()
    stored = [Path(file).name for file in desk.store.fs.ls(f"{desk.store.root}/rollouts/{desk.run_id}", detail=False)]
    assert sorted(stored) == [SHARE.weights, PROMPTS]
    desk.put_out([PROMPTS])
    assert not desk.store.exists(f"rollouts/{desk.run_id}/{SHARE.weights}")


def test_a_share_is_drawn_as_the_trainer_would_draw_it(desk: QueueDesk, claimed: Claimed) -> None:
    desk.ask(SHARE)
    assert desk.look(SHARE) is Word.WAIT
    share_id = _only_share().id
    draw(share_id, Pulse())
    draw(share_id, Pulse())  # delivered twice
    assert desk.look(SHARE) is Word.DRAWN
    sampler = Sampler(claimed.config, claimed.model_folder("policy"), [[5, 6, 7], [8, 9], [10, 11, 12, 13]])
    sampler.take_on(SHARE.version, desk.folder / SHARE.weights)
    own = desk.folder / "own"
    own.write_bytes(sampler.draw(SHARE))
    drawn = unpacked(desk.folder / SHARE.answer, SHARE, config=claimed.config)
    assert drawn == unpacked(own, SHARE, config=claimed.config)
    assert drawn is not None
    assert len(drawn) == 2, "half of the batch"
    with reading() as session:
        assert session.scalars(select(SamplingShare)).all() == []
    desk.put_out([PROMPTS])
    desk.clear_up()
    assert not desk.folder.exists()
    assert not get_artefacts().exists(f"rollouts/{claimed.run.id}")


def test_a_share_of_a_trainer_that_is_gone_leaves_nothing(desk: QueueDesk, claimed: Claimed) -> None:
    desk.ask(SHARE)
    share_id = _only_share().id
    with writing() as session:
        row = shares.take(session, share_id, worker="sampler")
        service.requeue(session, session.get_one(Run, claimed.run.id), "Its worker went silent.")
    assert row is not None
    draw(share_id, Pulse())
    with pytest.raises(ClaimLost):
        desk.look(SHARE)
    assert not list(desk.folder.glob("drawn-*"))


def test_what_a_worker_could_not_draw_the_trainer_draws(desk: QueueDesk, claimed: Claimed) -> None:
    for _ in range(2):
        desk.ask(Share(0, 0, "00000000-missing"))
        _draw()
        assert desk.look(SHARE) is Word.YOURS
    (warning,) = [text for text in _said(claimed.run.id) if "could not draw its share" in text]
    assert "All machines must share one store" in warning


def test_the_share_of_a_silent_worker_is_handed_on(desk: QueueDesk, claimed: Claimed) -> None:
    desk.ask(SHARE)
    with writing() as session:
        row = shares.take(session, _only_share().id, worker="sampler")
        session.execute(update(SamplingShare).values(heartbeat_at=now() - shares._long() * 2))
    assert row is not None
    assert desk.look(SHARE) is Word.WAIT
    assert _only_share().taken_by is None
    assert any("fell silent" in text for text in _said(claimed.run.id))
    _draw()
    assert desk.look(SHARE) is Word.DRAWN


def test_a_trainer_that_nobody_answers_says_so_and_draws(
    desk: QueueDesk, claimed: Claimed, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.ask(SHARE)
    assert desk.look(SHARE) is Word.WAIT
    assert "none is running. Start one with “touchstone worker --queue sampling”" in _run(claimed.run.id).progress_note
    desk.heard_at -= 61
    assert desk.look(SHARE) is Word.YOURS
    assert _run(claimed.run.id).progress_note == "No sampling worker answers: the trainer draws."
    assert any("No sampling worker has answered for 60 s" in text for text in _said(claimed.run.id))
    following = Share(1, 0, SHARE.version)
    desk.ask(following)
    assert desk.look(following) is Word.YOURS, "it waits no second time while none is there"
    lines = len(_said(claimed.run.id))
    pulse = Pulse()
    pulse._queue = Queue.sampling
    pulse.beat()
    desk.ask(SHARE)
    assert desk.look(SHARE) is Word.WAIT, "now one is"
    _draw()
    assert desk.look(SHARE) is Word.DRAWN
    assert _said(claimed.run.id)[lines:] == ["A sampling worker answers again."]


def test_a_worker_that_draws_another_share_is_waited_for(desk: QueueDesk) -> None:
    other = Share(0, 1, SHARE.version)
    desk.ask(other)
    with writing() as session:
        assert shares.take(session, _only_share().id, worker="sampler") is not None
    desk.ask(SHARE)
    desk.heard_at -= 61
    assert desk.look(SHARE) is Word.WAIT


def test_a_stop_reaches_a_trainer_that_waits(desk: QueueDesk, claimed: Claimed, judged: World) -> None:
    desk.ask(SHARE)
    claimed.pulse.is_shutting_down = True
    assert desk.look(SHARE) is Word.STOP
    claimed.pulse.is_shutting_down = False
    with writing() as session:
        service.ask_to_stop(session, session.get_one(Run, claimed.run.id), by=judged.admin)
    assert desk.look(SHARE) is Word.STOP


# Whole runs, with real sampling workers


@pytest.fixture
def _impatient(installation: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TOUCHSTONE_STALE_AFTER_SECONDS", "2")
    monkeypatch.setenv("TOUCHSTONE_HEARTBEAT_SECONDS", "0.2")
    forget_settings()
    yield
    forget_settings()


def _train(run_id: uuid.UUID) -> None:
    """The trainer, in this process, with a heart that beats."""
    pulse = Pulse()
    pulse.start()
    try:
        work_on(run_id, pulse)
    finally:
        pulse.end()


def _training(run_id: uuid.UUID) -> threading.Thread:
    thread = threading.Thread(target=_train, args=(run_id,))
    thread.start()
    return thread


def _is_taken() -> bool:
    with reading() as session:
        taken = SamplingShare.taken_by.is_not(None), SamplingShare.is_drawn.is_(False)
        return session.scalar(select(SamplingShare.id).where(*taken).limit(1)) is not None


@pytest.mark.usefixtures("_impatient", "_redis")
@pytest.mark.prove
def test_a_sampling_worker_that_is_killed_changes_nothing(judged: World, installation: Settings) -> None:
    alone, run_id = ask_for(judged), ask_for(judged, sampling_workers=1)
    work_on(alone, Pulse())
    with running_worker(installation, queue=Queue.sampling) as first:
        trainer = _training(run_id)
        eventually(_is_taken, what="the worker takes a share")
        first.send_signal(signal.SIGKILL)
    with running_worker(installation, queue=Queue.sampling):
        trainer.join()
    run = _run(run_id)
    assert (run.state, run.error, run.step) == (RunState.succeeded, None, 6)
    assert sum("fell silent" in text for text in _said(run_id)) == 1
    assert not any("draws" in text for text in _said(run_id))
    assert _figures(run_id) == _figures(alone)
    assert _weights(run_id) == _weights(alone)
    assert not get_artefacts().exists(f"rollouts/{run_id}")


@pytest.mark.usefixtures("_impatient", "_redis")
def test_without_a_sampling_worker_the_run_ends_all_the_same(judged: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_SAMPLING_PATIENCE_SECONDS", "0.3")
    forget_settings()
    alone, run_id = ask_for(judged), ask_for(judged, sampling_workers=1)
    for each in (alone, run_id):
        work_on(each, Pulse())
    assert (_run(run_id).state, _run(run_id).error) == (RunState.succeeded, None)
    assert sum("No sampling worker has answered" in text for text in _said(run_id)) == 1
    assert _weights(run_id) == _weights(alone)


@pytest.mark.usefixtures("_redis")
def test_a_run_that_waits_can_be_stopped_and_continued(judged: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = ask_for(judged, sampling_workers=1)
    trainer = _training(run_id)
    eventually(lambda: "none is running" in _run(run_id).progress_note, what="the trainer waits")
    with writing() as session:
        service.ask_to_stop(session, session.get_one(Run, run_id), by=judged.admin)
    trainer.join()
    assert (_run(run_id).state, _run(run_id).step) == (RunState.cancelled, 0)
    with reading() as session:
        assert session.scalars(select(SamplingShare)).all() == []
    monkeypatch.setenv("TOUCHSTONE_SAMPLING_PATIENCE_SECONDS", "0.1")
    forget_settings()
    with writing() as session:
        service.resume(session, session.get_one(Run, run_id), by=judged.admin)
    work_on(run_id, Pulse())
    assert (_run(run_id).state, _run(run_id).step) == (RunState.succeeded, 6)


@pytest.mark.prove  # several processes that load torch
@pytest.mark.usefixtures("_impatient", "_redis")
def test_a_trainer_that_is_killed_goes_on_with_its_sampling_workers(judged: World, installation: Settings) -> None:
    settings = {"sampling_workers": 2, "max_staleness": 1, "episodes": 80}
    with running_worker(installation, queue=Queue.sampling) as sampler:
        never_killed = ask_for(judged, **settings)
        _train(never_killed)
        run_id = ask_for(judged, **settings)
        with running_worker(installation) as trainer:
            eventually(lambda: _run(run_id).step >= 5, what="step 5")
            trainer.send_signal(signal.SIGKILL)
        eventually(_hand_on, what="the silent run is handed on")
        with running_worker(installation):
            eventually(lambda: _run(run_id).state in service.FINAL, what="the run ends")
        assert sampler.poll() is None
    assert (_run(run_id).state, _run(run_id).error, _run(run_id).step) == (RunState.succeeded, None, 20)
    assert _figures(run_id) == _figures(never_killed)
    assert max(row["staleness_max"] for row in _figures(run_id)) == 1
    assert _weights(run_id) == _weights(never_killed)


def _hand_on() -> bool:
    with writing() as session:
        return sweep(session).abandoned == 1


@pytest.mark.prove  # torchrun's processes beside a worker
@pytest.mark.usefixtures("_impatient", "_redis")
def test_a_trainer_of_two_processes_has_sampling_workers_too(judged: World, installation: Settings) -> None:
    alone = ask_for(judged, adam_eps=1e-3)
    work_on(alone, Pulse())
    with running_worker(installation, queue=Queue.sampling):
        run_id = ask_for(judged, sampling_workers=2, processes=2, adam_eps=1e-3)
        _train(run_id)
    assert (_run(run_id).state, _run(run_id).error) == (RunState.succeeded, None)
    assert not any("draws" in text for text in _said(run_id))
    for ours, theirs in zip(_figures(run_id), _figures(alone), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5, rel=1e-5)
