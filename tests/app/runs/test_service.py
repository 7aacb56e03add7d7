"""The life of a run, on both databases."""

import threading
from math import nan

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.core.db import reading, writing
from app.core.errors import Conflict
from app.projects.models import Project
from app.registry.models import Model, ModelKind
from app.registry.service import TrainedModel
from app.runs import service
from app.runs.models import Run, RunLogLine, RunMetric, RunSample, RunState
from app.runs.service import ClaimLost, Written
from tests.app.runs.rows import make_run, make_running
from tests.factories import make_model, make_person, make_project


@pytest.fixture
def own_project(session: Session) -> Project:
    return make_project(session)


def _claim(run: Run) -> str:
    assert run.claimed_by is not None
    return run.claimed_by


def test_a_queued_run_is_claimed_once(session: Session, own_project: Project) -> None:
    run = make_run(session, own_project)
    first = service.claim(session, run.id, worker="worker-1")
    assert first is not None
    assert (first.state, first.attempts) == (RunState.running, 1)
    assert first.heartbeat_at is not None
    assert service.claim(session, run.id, worker="worker-2") is None


def test_racing_workers_claim_a_run_once(engine: Engine) -> None:
    with writing(engine) as session:
        run_id = make_run(session, make_project(session)).id
    barrier, claims = threading.Barrier(8), []

    def race(number: int) -> None:
        barrier.wait()
        with writing(engine) as session:
            run = service.claim(session, run_id, worker=f"worker-{number}")
            claims.append(run.claimed_by if run else None)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claims) == 8
    assert sum(claim is not None for claim in claims) == 1
    with reading(engine) as session:
        assert session.get_one(Run, run_id).attempts == 1


@pytest.mark.parametrize("state", [RunState.running, RunState.succeeded, RunState.failed, RunState.cancelled])
def test_only_queued_runs_are_claimed(session: Session, own_project: Project, state: RunState) -> None:
    run = make_run(session, own_project, state=state)
    assert service.claim(session, run.id, worker="worker-1") is None


def test_a_step_is_kept_with_its_figures_and_samples(session: Session, own_project: Project) -> None:
    run = make_running(session, own_project)
    sample = Written("A dog", "Once\x00", "Once upon", 0.0, 1.5)  # PostgreSQL has no place for \\x00
    step = {"step": 3, "total": 10, "metrics": {"loss": 2.5, "kl": nan}, "samples": [sample], "checkpointed": True}
    to_stop = service.record_step(session, run.id, claim=_claim(run), **step)
    assert not to_stop
    assert (run.step, run.total_steps, run.checkpoint_step) == (3, 10, 3)
    assert session.get_one(RunMetric, (run.id, 3)).values == {"loss": 2.5, "kl": None}
    assert session.execute(select(RunSample.before, RunSample.after)).all() == [("Once�", "Once upon")]


def test_a_note_is_of_what_comes_before_the_next_step(session: Session, own_project: Project) -> None:
    run = make_running(session, own_project)
    claim = str(run.claimed_by)
    service.set_note(session, run.id, claim=claim, note="Waits for a sampling worker.")
    assert run.progress_note == "Waits for a sampling worker."
    service.record_step(session, run.id, claim=claim, step=1, total=9, metrics={})
    assert run.progress_note == ""


def test_a_step_done_again_replaces_its_row(session: Session, own_project: Project) -> None:
    run = make_running(session, own_project)
    for loss in (2.5, 2.4):
        service.record_step(session, run.id, claim=_claim(run), step=3, total=10, metrics={"loss": loss},
                            samples=[Written("A dog", "Once", f"{loss}")])  # fmt: skip
    assert [row.values for row in session.scalars(select(RunMetric))] == [{"loss": 2.4}]
    assert session.scalars(select(RunSample.after)).all() == ["2.4"]


def test_a_worker_whose_claim_was_taken_over_can_write_nothing(session: Session, own_project: Project) -> None:
    run = make_running(session, own_project)
    lost = _claim(run)
    service.requeue(session, run, "handed on")
    again = service.claim(session, run.id, worker="worker-2")
    assert again is not None
    with pytest.raises(ClaimLost):
        service.record_step(session, run.id, claim=lost, step=1, total=2, metrics={})
    with pytest.raises(ClaimLost):
        service.finish(session, run.id, claim=lost, result={})
    with pytest.raises(ClaimLost):
        service.fail(session, run.id, claim=lost, reason="no")
    assert service.beat(session, run.id, claim=lost)
    assert not service.beat(session, run.id, claim=_claim(again))


def test_finishing_registers_the_model_with_its_parent(session: Session, own_project: Project) -> None:
    parent = make_model(session, own_project)
    run = make_running(session, own_project)
    trained = TrainedModel(ModelKind.sft, parent.id, f"models/{run.id}", 1000, 512, {"valid_loss": 1.9})
    service.finish(session, run.id, claim=_claim(run), result={"valid_loss": 1.9}, model=trained)
    model = session.scalars(select(Model).where(Model.run_id == run.id)).one()
    assert (model.name, model.kind, model.parent_id, model.context) == (run.name, ModelKind.sft, parent.id, 512)
    assert (run.state, run.claimed_by, run.result) == (RunState.succeeded, None, {"valid_loss": 1.9})
    assert run.finished_at is not None


def test_a_run_never_makes_two_models(session: Session, own_project: Project) -> None:
    parent = make_model(session, own_project)
    run = make_running(session, own_project)
    trained = TrainedModel(ModelKind.sft, parent.id, f"models/{run.id}", 1000, 512)
    service.finish(session, run.id, claim=_claim(run), result={}, model=trained)
    service.requeue(session, run, "delivered again after the model was written")
    again = service.claim(session, run.id, worker="worker-2")
    assert again is not None
    service.finish(session, run.id, claim=_claim(again), result={}, model=trained)
    assert session.scalar(select(func.count()).select_from(Model).where(Model.run_id == run.id)) == 1


def test_a_taken_name_gets_a_number(session: Session, own_project: Project) -> None:
    parent = make_model(session, own_project, name="sft-round-1")
    run = make_running(session, own_project)
    trained = TrainedModel(ModelKind.sft, parent.id, f"models/{run.id}", 1000, 512)
    service.finish(session, run.id, claim=_claim(run), result={}, model=trained)
    assert session.scalars(select(Model.name).where(Model.run_id == run.id)).one() == "sft-round-1-2"


def test_a_failure_says_why_and_what_was_kept(session: Session, own_project: Project) -> None:
    run = make_running(session, own_project)
    service.record_step(session, run.id, claim=_claim(run), step=4, total=9, metrics={}, checkpointed=True)
    service.fail(session, run.id, claim=_claim(run), reason="The loss is nan.")
    assert run.state == RunState.failed
    assert run.error == "The loss is nan. The checkpoint at step 4 is kept; “Continue” goes on from there."


def test_a_run_asked_to_stop_ends_after_its_step_and_keeps_the_checkpoint(
    session: Session, own_project: Project
) -> None:
    admin = make_person(session, role=Role.admin)
    run = make_running(session, own_project)
    service.ask_to_stop(session, run, by=admin)
    assert run.state == RunState.running
    assert service.record_step(session, run.id, claim=_claim(run), step=5, total=9, metrics={})
    service.stop(session, run.id, claim=_claim(run), step=5)
    assert (run.state, run.checkpoint_step, run.is_cancel_asked) == (RunState.cancelled, 5, False)


def test_stopping_a_queued_run_ends_it_at_once(session: Session, own_project: Project) -> None:
    admin = make_person(session, role=Role.admin)
    run = make_run(session, own_project)
    service.ask_to_stop(session, run, by=admin)
    assert run.state == RunState.cancelled
    assert service.claim(session, run.id, worker="worker-1") is None
    with pytest.raises(Conflict, match="is cancelled already"):
        service.ask_to_stop(session, run, by=admin)


def test_a_stopped_run_continues_from_its_checkpoint(session: Session, own_project: Project) -> None:
    admin = make_person(session, role=Role.admin)
    run = make_running(session, own_project)
    service.stop(session, run.id, claim=_claim(run), step=5)
    service.resume(session, run, by=admin)
    assert (run.state, run.checkpoint_step, run.attempts) == (RunState.queued, 5, 0)
    assert service.claim(session, run.id, worker="worker-2") is not None
    lines = session.scalars(select(RunLogLine.text).order_by(RunLogLine.created_at)).all()
    assert "Worker worker-2 took the run, from the checkpoint at step 5." in lines
    with pytest.raises(Conflict):
        service.resume(session, run, by=admin)


def test_a_worker_that_shuts_down_gives_its_run_back(session: Session, own_project: Project) -> None:
    run = make_running(session, own_project)
    service.give_back(session, run.id, claim=_claim(run), step=7)
    assert (run.state, run.checkpoint_step, run.attempts, run.claimed_by) == (RunState.queued, 7, 0, None)
