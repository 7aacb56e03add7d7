"""One run from its claim to its end: claimed, its kind's job called, its end written in words."""

import gc
import logging
import uuid
from collections.abc import Callable

import torch
from safetensors import SafetensorError
from sqlalchemy.orm import Session

from app.core.errors import DomainError
from app.runs import line, service
from app.runs.configs import RunKind
from app.runs.models import Run
from app.runs.service import ClaimLost
from app.runs.sweep import nudge_able
from workers.jobs import (
    cross_validation,
    dpo,
    evaluation,
    memory,
    ppo,
    prefix_contest,
    reward_evaluation,
    reward_model,
    rloo,
    sampling,
    sft,
)
from workers.jobs.claimed import Claimed, open_claimed
from workers.jobs.patience import patiently
from workers.jobs.pulse import Pulse
from workers.training.loop import CannotTrain, Outcome, TrainingFailed

logger = logging.getLogger(__name__)

# However it is told: by the kernel, by safetensors, by pickles of torch (which are not let through otherwise).
_DISK_FULL = ("No space left", "Errno 28", "PytorchStreamWriter failed writing")
Job = Callable[[Claimed], Outcome]
JOBS: dict[RunKind, Job] = {
    RunKind.sft: sft.work,
    RunKind.reward_model: reward_model.work,
    RunKind.cross_validation: cross_validation.work,
    RunKind.ppo: ppo.work,
    RunKind.dpo: dpo.work,
    RunKind.rloo: rloo.work,
    RunKind.sampling: sampling.work,
    RunKind.evaluation: evaluation.work,
    RunKind.prefix_contest: prefix_contest.work,
    RunKind.reward_evaluation: reward_evaluation.work,
}


def work_on_next(pulse: Pulse, told: Callable[[Run], None]) -> None:
    """Claim the run that is next for this worker, say which, and work on it. Without one, the message was a
    duplicate or met the wrong worker: then those that can take what this one can't are sent for."""
    run = patiently(lambda session: _next(session, pulse))
    if run is None:
        logger.info("nothing in the line is for this worker")
        return
    told(run)
    _work_to_its_end(run, pulse)


def _next(session: Session, pulse: Pulse) -> Run | None:
    run = line.claim_next(session, worker=pulse.name, device=pulse.device)
    if run is None:
        nudge_able(session, but_for=pulse.device)
    return run


def work_on(run_id: uuid.UUID, pulse: Pulse) -> None:
    """Claim this run, whatever waits before it, and work on it; one that is claimed or ended already is left alone."""
    run = patiently(lambda session: service.claim(session, run_id, worker=pulse.name))
    if run is not None:
        _work_to_its_end(run, pulse)


def _work_to_its_end(run: Run, pulse: Pulse) -> None:
    """Or to a stop, or to the worker's shutdown."""
    with pulse.during(run):
        try:
            _work(open_claimed(run, pulse))
        except ClaimLost:
            logger.warning("run %s was taken over by another worker", run.id)
        except Exception as error:  # the edge of a job: whatever broke, the run must say so
            _fail(run, error)
        finally:
            _free_memory()


def _free_memory() -> None:
    """What a run leaves behind is not the next one's to pay for."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _work(claimed: Claimed) -> None:
    memory.refuse_too_large(claimed)
    try:
        outcome = JOBS[claimed.run.kind](claimed)
    except ClaimLost:
        raise
    except Exception:
        claimed.keep(leaving=True)
        raise
    finally:
        claimed.board.close()
    if outcome.finished:
        claimed.clear_up()
        return
    claimed.keep(leaving=True)
    _end_unfinished(claimed, outcome)


def _end_unfinished(claimed: Claimed, outcome: Outcome) -> None:
    """It stopped at a checkpoint: because someone asked, or because this worker shuts down and another goes on."""
    run, claim = claimed.run, claimed.claim
    step = claimed.stopped_at or outcome.step
    if claimed.pulse.is_shutting_down and not patiently(lambda s: service.beat(s, run.id, claim=claim)):
        patiently(lambda session: service.give_back(session, run.id, claim=claim, step=step))
    else:
        patiently(lambda session: service.stop(session, run.id, claim=claim, step=step))


def _fail(run: Run, error: Exception) -> None:
    logger.error("run %s failed", run.id, exc_info=error)
    reason = in_words(error)
    claim = run.claimed_by or ""
    try:
        patiently(lambda session: service.fail(session, run.id, claim=claim, reason=reason))
    except ClaimLost:
        logger.warning("run %s was taken over before its failure could be written", run.id)


def in_words(error: BaseException) -> str:
    """What broke, for the admin."""
    if isinstance(error, CannotTrain | TrainingFailed):
        return str(error)
    if isinstance(error, DomainError):
        return f"{error.message} {error.mend}".strip()
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator: can't allocate" in str(error):
        return (
            "The memory ran out. Smaller batches (micro_batch_size where there is one, else batch_size) and shorter "
            "max_completion_tokens need less; so does a lora_rank above 0 where a run trains."
        )
    if any(sign in str(error) for sign in _DISK_FULL):
        return "The disk is full. Free space where the artefacts are kept, then continue."
    if isinstance(error, OSError | SafetensorError):
        return f"The disk or the artefact store could not be used ({error}). Once it can be again, continue."
    return f"Something unforeseen broke ({type(error).__name__}: {error}). The worker's own output has the details."
