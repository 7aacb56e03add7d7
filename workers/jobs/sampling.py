"""A sampling run: completions of one or several models, and the batch in which labelers rank them."""

import uuid
from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from app.accounts.models import Group
from app.datasets.examples import Prompt
from app.labeling import service as labeling
from app.labeling.models import BatchKind, Completion
from app.projects.models import Project
from app.runs import service
from app.runs.schemas import SamplingPlan
from workers.jobs.claimed import Claimed, folder_of
from workers.jobs.patience import patiently
from workers.training.loop import CannotTrain, Outcome
from workers.training.sampling import SampledCompletion, sample

PARTS = ("model", "model_2", "model_3")


def work(claimed: Claimed) -> Outcome:
    plan = claimed.config
    assert isinstance(plan, SamplingPlan)
    prompts = list(claimed.examples("prompts"))
    models = [claimed.models[part] for part in PARTS if part in claimed.models]
    claimed.laps = len(models)
    written: dict[uuid.UUID, list[SampledCompletion]] = {}
    for claimed.lap, model in enumerate(models):
        claimed.note(f"{model.name} writes")
        checkpoints = claimed.checkpoints / str(model.id)
        written[model.id] = sample(plan, prompts, claimed, model=folder_of(model), checkpoints=checkpoints)
        if claimed.stopped_at is not None:
            return Outcome(finished=False, step=claimed.stopped_at, metrics={})
    figures = _figures(written)
    patiently(lambda session: _store(session, claimed, plan, prompts, written, figures))
    return Outcome(finished=True, step=0, metrics=figures)


def _figures(written: Mapping[uuid.UUID, Sequence[SampledCompletion]]) -> dict[str, float]:
    everything = [completion for completions in written.values() for completion in completions]
    if not everything:
        raise CannotTrain("No completion was written: every prompt is longer than max_prompt_tokens.")
    ended = sum(completion.finish_reason == "stop" for completion in everything)
    return {
        "completions": float(len(everything)),
        "prompts": float(len({completion.prompt_id for completion in everything})),
        "length": sum(completion.tokens for completion in everything) / len(everything),
        "eos_share": ended / len(everything),
    }


def _store(
    session: Session,
    claimed: Claimed,
    plan: SamplingPlan,
    prompts: Sequence[Prompt],
    written: Mapping[uuid.UUID, Sequence[SampledCompletion]],
    figures: Mapping[str, float],
) -> None:
    """Completions, their batch and the run's end in one transaction: all of it or nothing, once."""
    run = claimed.run
    service.finish(session, run.id, claim=claimed.claim, result=figures)
    rows: dict[uuid.UUID, list[Completion]] = {uuid.UUID(prompt.id): [] for prompt in prompts}
    for model_id, completions in written.items():
        for completion in completions:
            rows[uuid.UUID(completion.prompt_id)].append(_row(run.id, model_id, plan, completion))
    session.add_all(row for of_prompt in rows.values() for row in of_prompt)
    session.flush()
    labeling.create_ranking_batch(
        session, session.get_one(Project, run.project_id),
        completions_by_prompt={prompt_id: of_prompt for prompt_id, of_prompt in rows.items() if len(of_prompt) > 1},
        run_id=run.id, kind=BatchKind(plan.batch_kind), name=run.name, overlap=plan.overlap,
        group=None if plan.group == "everyone" else Group(plan.group),
    )  # fmt: skip


def _row(run_id: uuid.UUID, model_id: uuid.UUID, plan: SamplingPlan, completion: SampledCompletion) -> Completion:
    settings = plan.model_dump(include={"temperature", "top_p", "max_completion_tokens", "seed"}, mode="json")
    return Completion(
        prompt_id=uuid.UUID(completion.prompt_id),
        model_id=model_id,
        run_id=run_id,
        number=completion.index,
        settings=settings,
        text=service.storable(completion.text),
        tokens=completion.tokens,
        finish_reason=completion.finish_reason,
        mean_logprob=completion.mean_logprob,
    )
