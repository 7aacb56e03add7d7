"""The life of a run: queued → running → succeeded | failed | cancelled, in its row, for any number of workers."""

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import Person
from app.core.clock import now
from app.core.errors import Conflict, NotFound
from app.core.queue import JobName, enqueue
from app.projects.models import Project
from app.registry import service as registry
from app.registry.service import TrainedModel
from app.runs.models import Run, RunLogLine, RunMetric, RunSample, RunState, SamplingShare
from app.webhooks import letters
from app.webhooks.models import Event, LetterKind
from app.webhooks.service import publish

MAX_ATTEMPTS = 5  # claims in a row that ended without a new checkpoint

FINAL = (RunState.succeeded, RunState.failed, RunState.cancelled)


class ClaimLost(Conflict):
    """Another worker has this run now (this one was silent for too long): stop, and leave the row alone."""


@dataclass(frozen=True, slots=True)
class Written:
    """What the model wrote for a prompt before the run and writes now."""

    prompt: str
    before: str
    after: str
    reward_before: float | None = None
    reward_after: float | None = None


def run_of_project(session: Session, project: Project, run_id: uuid.UUID) -> Run:
    run = session.get(Run, run_id)
    if run is None or run.project_id != project.id:
        raise NotFound("There is no such run in this project.")
    return run


def run_of_key(session: Session, project: Project, key: str | None) -> Run | None:
    """The run that a script asked for under this key of its own."""
    return session.scalar(select(Run).where(Run.project_id == project.id, Run.key == key)) if key else None


def log(session: Session, run_id: uuid.UUID, text: str, *, level: str = "info") -> None:
    session.add(RunLogLine(run_id=run_id, text=text, level=level))


# What a worker does with a run


def claim(session: Session, run_id: uuid.UUID, *, worker: str) -> Run | None:
    """Take a queued run in one conditional update; none when another delivery was faster or it is not queued."""
    taken = session.execute(
        update(Run)
        .where(Run.id == run_id, Run.state == RunState.queued)
        .values(
            state=RunState.running,
            claimed_by=f"{worker}#{uuid.uuid4().hex[:8]}",
            attempts=Run.attempts + 1,
            claimed_at=now(),
            heartbeat_at=now(),
            started_at=func.coalesce(Run.started_at, now()),
            finished_at=None,
            error=None,
        )
        .execution_options(synchronize_session=False)
    )
    if not taken.rowcount:  # type: ignore[attr-defined]
        return None
    run = session.get_one(Run, run_id, populate_existing=True)
    where = f"from the checkpoint at step {run.checkpoint_step}" if run.checkpoint_step else "from the start"
    log(session, run.id, f"Worker {worker} took the run, {where}.")
    return run


def _held(session: Session, run_id: uuid.UUID, claim: str) -> Run:
    """The run, locked, if `claim` still holds it."""
    query = select(Run).where(Run.id == run_id, Run.claimed_by == claim, Run.state == RunState.running)
    run = session.scalar(query.with_for_update().execution_options(populate_existing=True))
    if run is None:
        raise ClaimLost("Another worker has taken this run over.")
    return run


def beat(session: Session, run_id: uuid.UUID, *, claim: str) -> bool:
    """Say that the run is alive. Whether it is to stop: someone asked, or the claim is lost."""
    query = update(Run).where(Run.id == run_id, Run.claimed_by == claim, Run.state == RunState.running)
    alive = session.execute(query.values(heartbeat_at=now()).execution_options(synchronize_session=False))
    return not alive.rowcount or bool(  # type: ignore[attr-defined]
        session.scalar(select(Run.is_cancel_asked).where(Run.id == run_id))
    )


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Figures as JSON can carry them: what is not a number is null."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in values.items()
    }


def storable(text: str) -> str:
    """A model's text as PostgreSQL takes it: byte-level models may write the one character it has no place for."""
    return text.replace("\x00", "�")


def record_step(
    session: Session,
    run_id: uuid.UUID,
    *,
    claim: str,
    step: int,
    total: int,
    metrics: Mapping[str, float],
    samples: Sequence[Written] = (),
    checkpointed: bool = False,
) -> bool:
    """Keep a step's figures; a step done again after a resume replaces its row. Returns whether to stop."""
    run = _held(session, run_id, claim)
    run.step, run.total_steps, run.heartbeat_at, run.progress_note = step, total, now(), ""
    if checkpointed:
        run.checkpoint_step, run.attempts = step, 1
    session.merge(RunMetric(run_id=run_id, step=step, values=finite(metrics), recorded_at=now()))
    if samples:
        _replace_samples(session, run_id, step, samples)
    session.flush()
    return run.is_cancel_asked


def _replace_samples(session: Session, run_id: uuid.UUID, step: int, samples: Sequence[Written]) -> None:
    session.execute(delete(RunSample).where(RunSample.run_id == run_id, RunSample.step == step))
    for each in samples:
        session.add(
            RunSample(
                run_id=run_id,
                step=step,
                prompt=storable(each.prompt),
                before=storable(each.before),
                after=storable(each.after),
                reward_before=each.reward_before,
                reward_after=each.reward_after,
            )
        )


def set_note(session: Session, run_id: uuid.UUID, *, claim: str, note: str) -> None:
    """What the worker is doing now, where steps don't tell."""
    _held(session, run_id, claim).progress_note = note


def finish(
    session: Session,
    run_id: uuid.UUID,
    *,
    claim: str,
    result: Mapping[str, Any],
    model: TrainedModel | None = None,
    others: Sequence[TrainedModel] = (),
) -> Run:
    """The run succeeded: what it made, a model and others beside it, is registered in the same transaction."""
    run = _held(session, run_id, claim)
    for trained in (model, *others) if model else ():
        registry.register_trained(session, run.project_id, name=run.name, run_id=run.id, trained=trained)
    run.result = dict(result)
    run.step = run.total_steps or run.step
    _end(session, run, RunState.succeeded, "Finished.")
    return run


def fail(session: Session, run_id: uuid.UUID, *, claim: str, reason: str) -> None:
    """The run can't go on; `reason` is for the admin. The checkpoint stays."""
    run = _held(session, run_id, claim)
    run.error = f"{reason} {_kept(run)}".strip()
    _end(session, run, RunState.failed, run.error, level="error")


def stop(session: Session, run_id: uuid.UUID, *, claim: str, step: int) -> None:
    """The run stopped because someone asked; `step` is where its checkpoint stands."""
    run = _held(session, run_id, claim)
    run.step, run.checkpoint_step = step, step
    _end(session, run, RunState.cancelled, f"Stopped at step {step}; the checkpoint is kept.")


def give_back(session: Session, run_id: uuid.UUID, *, claim: str, step: int | None) -> None:
    """The worker is shutting down: the run waits for the next one, which goes on from the checkpoint."""
    run = _held(session, run_id, claim)
    run.checkpoint_step = step or run.checkpoint_step
    run.attempts = max(0, run.attempts - 1)
    requeue(session, run, "The worker was shut down; the run waits for the next worker.")


def _kept(run: Run) -> str:
    if run.checkpoint_step:
        return f"The checkpoint at step {run.checkpoint_step} is kept; “Continue” goes on from there."
    return "Nothing had been kept yet; “Continue” starts it over."


def _count_work(run: Run, until: datetime) -> None:
    """Its worker has it no more: the time that it had it counts for the project."""
    if run.claimed_at is not None:
        run.worked_seconds += max(0.0, (until - run.claimed_at).total_seconds())
        run.worked_until, run.claimed_at = until, None


def _end(session: Session, run: Run, state: RunState, text: str, *, level: str = "info") -> None:
    _count_work(run, now())
    run.state, run.finished_at, run.claimed_by, run.progress_note = state, now(), None, ""
    run.is_cancel_asked = False
    _forget_shares(session, run)
    log(session, run.id, text, level=level)
    audit.record(session, None, f"run.{state}", subject=run)
    publish(session, run.project_id, Event.run_finished, id=run.id, name=run.name, kind=run.kind, state=state,
            error=run.error, step=run.step)  # fmt: skip
    if state == RunState.failed:
        words = f"It failed at step {run.step}. {run.error or ''}".strip()
        letters.write(session, run.project_id, LetterKind.run_failed, subject=f"The run “{run.name}” failed",
                      text=words, path=f"/runs/{run.id}")  # fmt: skip
    session.flush()


def _forget_shares(session: Session, run: Run) -> None:
    """Nobody waits for them any more; a sampling worker that still has one finds it gone."""
    session.execute(delete(SamplingShare).where(SamplingShare.run_id == run.id))


def requeue(session: Session, run: Run, why: str) -> None:
    _count_work(run, now())
    run.state, run.claimed_by, run.heartbeat_at, run.queued_at = RunState.queued, None, None, now()
    run.progress_note = ""
    _forget_shares(session, run)
    log(session, run.id, why)
    session.flush()
    enqueue(session, JobName.run, run.id)


def end_abandoned(session: Session, run: Run) -> None:
    """A run whose worker went silent: hand it on, unless it was to stop or keeps killing its workers."""
    _count_work(run, run.heartbeat_at or now())  # silence is no work
    if run.is_cancel_asked:
        _end(session, run, RunState.cancelled, f"Its worker is gone and it was to stop. {_kept(run)}")
    elif run.attempts >= MAX_ATTEMPTS:
        run.error = (
            f"Its worker died {run.attempts} times in a row without getting further. Too little memory is the usual "
            f"cause: look at the worker's own output, or use smaller batches. {_kept(run)}"
        )
        _end(session, run, RunState.failed, run.error, level="error")
    else:
        requeue(session, run, "Its worker went silent; the run is handed to the next worker.")


# What a person does with a run


def _locked(session: Session, run: Run) -> Run:
    query = select(Run).where(Run.id == run.id).with_for_update().execution_options(populate_existing=True)
    return session.scalars(query).one()


def ask_to_stop(session: Session, run: Run, *, by: Person) -> None:
    """Stop a run at its next step, its checkpoint kept; a queued one stops at once. Asking twice changes nothing."""
    run = _locked(session, run)
    if run.state in FINAL:
        raise Conflict(f"“{run.name}” is {run.state} already.", mend="There is nothing left to stop.")
    if run.state == RunState.queued:
        _end(session, run, RunState.cancelled, f"{by.name} stopped it before a worker took it.")
    elif not run.is_cancel_asked:
        run.is_cancel_asked = True
        log(session, run.id, f"{by.name} asked to stop; the run ends after its current step.")
    audit.record(session, by, "run.stop", subject=run)


def resume(session: Session, run: Run, *, by: Person) -> None:
    """Queue a cancelled or failed run again: it goes on from its last checkpoint."""
    run = _locked(session, run)
    if run.state not in (RunState.cancelled, RunState.failed):
        raise Conflict(f"“{run.name}” is {run.state}.", mend="Only a stopped or failed run can be continued.")
    run.attempts, run.error, run.finished_at, run.is_cancel_asked = 0, None, None, False
    requeue(session, run, f"{by.name} continued it.")
    audit.record(session, by, "run.continue", subject=run)
