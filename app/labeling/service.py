"""Batches: what is to be labeled, by whom and under which rules; and what other rooms ask of labeling."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Unpack

from sqlalchemy import select
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
    ItemPurpose,
)
from app.labeling.plans import Planned, Rules, add_items, answered_items, complete_plan, fit_answers, plan_items
from app.labeling.plans import follow_labelers as follow_labelers  # for the scheduler's sweep
from app.projects import service as projects
from app.projects.models import GuidelinesKind, Project
from app.prompts.models import Prompt

MOST_OVERLAP = 20
MOST_PRIORITY = 100
MOST_COMPLETIONS = 26  # one letter each

GUIDELINES = {
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
    session: Session, project: Project, *, prompts: Sequence[Prompt], by: Person | None = None, **rules: Unpack[Rules]
) -> Batch:
    """Ask labelers to write a demonstration for each of the prompts, in the order given."""
    if not prompts:
        raise Invalid(
            "No prompt fits: all of them have a demonstration, or are in an open batch.",
            mend="Import prompts, or choose another split or use case.",
        )
    if rules.get("gold_share") or rules.get("training_items"):
        raise Invalid("A text has no known answer.", mend="Known answers are for rankings and evaluations.")
    plan = [Planned(prompt.id) for prompt in prompts]
    return _create_batch(session, project, BatchKind.demonstration, plan, by=by, rules=rules)


def create_ranking_batch(
    session: Session,
    project: Project,
    *,
    completions_by_prompt: Mapping[uuid.UUID, Sequence[Completion]],
    run_id: uuid.UUID | None = None,
    kind: BatchKind = BatchKind.ranking,
    by: Person | None = None,
    **rules: Unpack[Rules],
) -> Batch:
    """Ask labelers to rank the completions of each prompt. A run gets one batch, however often its job comes here."""
    if run_id is not None:
        made_before = session.scalar(select(Batch).where(Batch.run_id == run_id))
        if made_before is not None:
            return made_before
    _check_completions(completions_by_prompt)
    batch = _create_batch(session, project, kind, plan_items(completions_by_prompt), by=by, rules=rules)
    batch.run_id = run_id
    session.flush()
    return batch


def _check_completions(completions_by_prompt: Mapping[uuid.UUID, Sequence[Completion]]) -> None:
    if not completions_by_prompt:
        raise Invalid("There are no completions to rank.", mend="Sample completions first.")
    for completions in completions_by_prompt.values():
        if not 2 <= len(completions) <= MOST_COMPLETIONS:
            raise Invalid(f"A ranking needs 2 to {MOST_COMPLETIONS} completions of a prompt, not {len(completions)}.")


def create_grading_batch(
    session: Session,
    project: Project,
    *,
    demonstrations: Sequence[Demonstration],
    by: Person | None = None,
    **rules: Unpack[Rules],
) -> Batch:
    """Ask labelers for a grade of what others wrote. Nobody gets a text of their own: it carries its author's id."""
    if not demonstrations:
        raise Invalid("There is no demonstration left to grade.", mend="Have some written first, or widen the filter.")
    completions = [
        Completion(prompt_id=each.prompt_id, person_id=each.person_id, text=each.text, id=uuid.uuid4())
        for each in demonstrations
    ]
    session.add_all(completions)
    session.flush()
    plan = plan_items({each.prompt_id: [each] for each in completions})
    return _create_batch(session, project, BatchKind.grading, plan, by=by, rules=rules)


def create_screening_batch(
    session: Session,
    project: Project,
    *,
    answered: int,
    prompts: Sequence[Prompt],
    by: Person | None = None,
    **rules: Unpack[Rules],
) -> Batch:
    """The same test for every candidate: items whose answers we know, and prompts to write a demonstration for."""
    known = answered_items(session, project, besides={prompt.id for prompt in prompts})
    if len(known) < answered:
        raise Invalid(
            f"{answered} items with a known answer are wanted, and there are {len(known)}.",
            mend="Give more answers on the pages of batches, or ask for fewer.",
            fields={"answered": f"{len(known)} are there."},
        )
    plan = known[-answered:] if answered else []
    for each in plan:
        each.purpose = ItemPurpose.gold
    plan = plan + [Planned(prompt.id) for prompt in prompts]
    if not plan:
        raise Invalid("An empty screening tells nothing.", mend="Ask for some items, or for some demonstrations.")
    return _create_batch(session, project, BatchKind.screening, plan, by=by, rules=rules)


def _create_batch(
    session: Session, project: Project, kind: BatchKind, plan: list[Planned], *, by: Person | None, rules: Rules
) -> Batch:
    batch = _new_batch(session, project, kind, rules)
    plan = complete_plan(session, project, plan, rules)
    fit_answers(session, batch, plan)
    add_items(session, batch, plan)
    audit.record(session, by, "batch.create", subject=batch, kind=kind.value, items=len(plan))
    return batch


def _new_batch(session: Session, project: Project, kind: BatchKind, rules: Rules) -> Batch:
    """A batch under the newest rules, or those chosen; it keeps them when the rules move on."""
    overlap = rules.get("overlap", 1)
    if not 1 <= overlap <= MOST_OVERLAP:
        raise Invalid(f"{overlap} labelers per item can't be.", fields={"overlap": f"Choose 1 to {MOST_OVERLAP}."})
    guidelines = projects.guidelines_of(session, project, GUIDELINES[kind], rules.get("guidelines_version"))
    schema = projects.rating_schema_of(session, project, rules.get("schema_version"))
    if kind == BatchKind.demonstration:
        schema = None
    if kind == BatchKind.grading and not (schema and schema.fields.get("likert")):
        raise Invalid("There is no scale to grade by.", mend="Write a version of the rating schema that has one.",
                      fields={"schema_version": "Choose one with a scale."})  # fmt: skip
    batch = Batch(
        project_id=project.id,
        round_id=projects.current_round(session, project).id,
        name=rules.get("name", "").strip() or f"{kind.value.title()} batch",
        kind=kind,
        guidelines_id=guidelines.id if guidelines else None,
        rating_schema_id=schema.id if schema else None,
        overlap=overlap,
        group=rules.get("group"),
        priority=rules.get("priority", 0),
        calibration_share=rules.get("calibration_share", 0.0),
        gold_share=rules.get("gold_share", 0.0),
    )
    session.add(batch)
    session.flush()
    return batch


def read_priority(typed: str) -> int:
    try:
        return int(typed)
    except ValueError:
        raise Invalid(f"{typed!r} is no number.", fields={"priority": "Write a whole number."}) from None


def change_priority(session: Session, batch: Batch, priority: int, *, by: Person) -> None:
    """Higher comes first. Who holds an item keeps it."""
    if not -MOST_PRIORITY <= priority <= MOST_PRIORITY:
        raise Invalid(f"{priority} can't be.", fields={"priority": f"Choose -{MOST_PRIORITY} to {MOST_PRIORITY}."})
    if priority != batch.priority:
        before, batch.priority = batch.priority, priority
        audit.record(session, by, "batch.priority", subject=batch, before=before, priority=priority)
        session.flush()


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
