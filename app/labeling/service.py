"""Batches: what is to be labeled, by whom and under which rules; and what other rooms ask of labeling."""

import uuid
from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import Group, Person
from app.core.errors import Conflict, Invalid, NotFound
from app.labeling.leases import release_expired as release_expired  # for the worker's sweep
from app.labeling.models import (
    Batch,
    BatchKind,
    BatchState,
    Completion,
    Demonstration,
    Item,
    ItemCompletion,
)
from app.projects import service as projects
from app.projects.models import GuidelinesKind, Project
from app.prompts.models import Prompt, Split, UseCase

MOST_OVERLAP = 20
MOST_COMPLETIONS = 26  # one letter each

_GUIDELINES = {
    BatchKind.demonstration: GuidelinesKind.demonstration,
    BatchKind.ranking: GuidelinesKind.ranking,
    BatchKind.evaluation: GuidelinesKind.evaluation,
    BatchKind.screening: GuidelinesKind.ranking,
    BatchKind.grading: GuidelinesKind.demonstration,
}
_CHANGES = {
    BatchState.open: {BatchState.paused, BatchState.closed},
    BatchState.paused: {BatchState.open, BatchState.closed},
    BatchState.closed: {BatchState.open},
}


def create_demonstration_batch(
    session: Session,
    project: Project,
    *,
    prompts: Sequence[Prompt],
    name: str = "",
    overlap: int = 1,
    group: Group | None = None,
    priority: int = 0,
    by: Person | None = None,
) -> Batch:
    """Ask labelers to write a demonstration for each of the prompts, in the order given."""
    if not prompts:
        raise Invalid(
            "No prompt fits: all of them have a demonstration, or are in an open batch.",
            mend="Import prompts, or choose another split or use case.",
        )
    batch = _new_batch(session, project, BatchKind.demonstration, name=name, overlap=overlap, group=group,
                       priority=priority)  # fmt: skip
    for position, prompt in enumerate(prompts):
        session.add(Item(batch_id=batch.id, prompt_id=prompt.id, position=position, wanted=overlap))
    session.flush()
    audit.record(session, by, "batch.create", subject=batch, kind=batch.kind.value, items=len(prompts))
    return batch


def create_ranking_batch(
    session: Session,
    project: Project,
    *,
    completions_by_prompt: Mapping[uuid.UUID, Sequence[Completion]],
    run_id: uuid.UUID | None = None,
    kind: BatchKind = BatchKind.ranking,
    name: str = "",
    overlap: int = 1,
    group: Group | None = None,
    priority: int = 0,
    by: Person | None = None,
) -> Batch:
    """Ask labelers to rank the completions of each prompt. A run gets one batch, however often its job comes here."""
    if run_id is not None:
        made_before = session.scalar(select(Batch).where(Batch.run_id == run_id))
        if made_before is not None:
            return made_before
    _check_completions(completions_by_prompt)
    batch = _new_batch(session, project, kind, name=name, overlap=overlap, group=group, priority=priority)
    batch.run_id = run_id
    items = {
        prompt_id: Item(batch_id=batch.id, prompt_id=prompt_id, position=position, wanted=overlap, id=uuid.uuid4())
        for position, prompt_id in enumerate(completions_by_prompt)
    }
    session.add_all(items.values())
    session.flush()
    session.add_all(
        ItemCompletion(item_id=items[prompt_id].id, completion_id=completion.id, position=place)
        for prompt_id, completions in completions_by_prompt.items()
        for place, completion in enumerate(completions)
    )
    session.flush()
    audit.record(session, by, "batch.create", subject=batch, kind=kind.value, items=len(completions_by_prompt))
    return batch


def _check_completions(completions_by_prompt: Mapping[uuid.UUID, Sequence[Completion]]) -> None:
    if not completions_by_prompt:
        raise Invalid("There are no completions to rank.", mend="Sample completions first.")
    for completions in completions_by_prompt.values():
        if not 2 <= len(completions) <= MOST_COMPLETIONS:
            raise Invalid(f"A ranking needs 2 to {MOST_COMPLETIONS} completions of a prompt, not {len(completions)}.")


def _new_batch(
    session: Session,
    project: Project,
    kind: BatchKind,
    *,
    name: str,
    overlap: int,
    group: Group | None,
    priority: int,
) -> Batch:
    """A batch under the newest rules; it keeps them when the rules move on."""
    if not 1 <= overlap <= MOST_OVERLAP:
        raise Invalid(f"{overlap} labelers per item can't be.", fields={"overlap": f"Choose 1 to {MOST_OVERLAP}."})
    guidelines = projects.newest_guidelines(session, project, _GUIDELINES[kind])
    schema = projects.newest_rating_schema(session, project) if kind != BatchKind.demonstration else None
    batch = Batch(
        project_id=project.id,
        round_id=projects.current_round(session, project).id,
        name=name.strip() or f"{kind.value.title()} batch",
        kind=kind,
        guidelines_id=guidelines.id if guidelines else None,
        rating_schema_id=schema.id if schema else None,
        overlap=overlap,
        group=group,
        priority=priority,
    )
    session.add(batch)
    session.flush()
    return batch


def batch_of(session: Session, project: Project, batch_id: uuid.UUID) -> Batch:
    batch = session.scalar(select(Batch).where(Batch.id == batch_id, Batch.project_id == project.id))
    if batch is None:
        raise NotFound("There is no such batch in this project.")
    return batch


def change_state(session: Session, batch: Batch, state: BatchState, *, by: Person) -> None:
    """Pause, close or reopen. What is submitted stays, and who holds an item may still submit it."""
    if state == batch.state:
        return
    if state not in _CHANGES[batch.state]:
        raise Conflict(f"A {batch.state.value} batch can't be made {state.value}.", mend="Reopen it first.")
    before, batch.state = batch.state, state
    audit.record(session, by, f"batch.{state.value}", subject=batch, before=before.value)
    session.flush()


def prompts_without_demonstration(
    session: Session,
    project: Project,
    *,
    split: Split | None = None,
    use_cases: Sequence[UseCase] = (),
    limit: int | None = None,
) -> list[Prompt]:
    """Prompts that no one has written for yet, nor has been asked to in a batch that is not closed; oldest first."""
    query = select(Prompt).where(_lacks_demonstration(project))
    if split is not None:
        query = query.where(Prompt.split == split)
    if use_cases:
        query = query.where(Prompt.use_case.in_(use_cases))
    return list(session.scalars(query.order_by(Prompt.created_at, Prompt.id).limit(limit)))


def _lacks_demonstration(project: Project) -> ColumnElement[bool]:
    asked = exists().where(
        Item.prompt_id == Prompt.id,
        Batch.id == Item.batch_id,
        Batch.kind == BatchKind.demonstration,
        Batch.state != BatchState.closed,
    )
    written = exists().where(Demonstration.prompt_id == Prompt.id)
    return and_(Prompt.project_id == project.id, ~Prompt.is_retired, ~written, ~asked)


def count_without_demonstration(session: Session, project: Project) -> dict[Split, int]:
    query = select(Prompt.split, func.count()).where(_lacks_demonstration(project)).group_by(Prompt.split)
    return {split: count for split, count in session.execute(query)}  # noqa: C416  rows, not pairs, to mypy


def record_demonstration(
    session: Session, prompt: Prompt, person: Person, text: str, *, source: str = "import"
) -> Demonstration:
    """A demonstration that was written elsewhere, under the name of who brings it in."""
    if not text.strip():
        raise Invalid("A demonstration can't be empty.", fields={"text": "Write the completion."})
    if person.group == Group.held_out:  # nothing would tell it from training data once they are moved
        raise Invalid(f"{person.name} is a held-out labeler.", mend="Bring it in under the name of someone else.")
    demonstration = Demonstration(prompt_id=prompt.id, person_id=person.id, text=text.strip(), source=source)
    session.add(demonstration)
    session.flush()
    return demonstration


def completions_of_run(session: Session, project: Project, run_id: uuid.UUID) -> dict[uuid.UUID, list[Completion]]:
    """What a sampling run wrote, by prompt in the order of its batch."""
    query = select(Completion).join(Prompt, Prompt.id == Completion.prompt_id)
    query = query.where(Completion.run_id == run_id, Prompt.project_id == project.id)
    by_prompt: dict[uuid.UUID, list[Completion]] = {}
    for completion in session.scalars(query.order_by(Prompt.created_at, Prompt.id, Completion.number)):
        by_prompt.setdefault(completion.prompt_id, []).append(completion)
    return by_prompt
