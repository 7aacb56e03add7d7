"""A project's labeling in figures: batches with their progress and agreement, labelers with theirs."""

import uuid
from collections import defaultdict
from dataclasses import dataclass
from statistics import median

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.labeling.current import is_current
from app.labeling.models import (
    Assignment,
    AssignmentState,
    Batch,
    BatchKind,
    Item,
    Ranking,
    RankingPlace,
)
from app.labeling.progress import BatchProgress, batches_of, progress_of
from app.projects.models import Guidelines, Project
from app.quality.agreement import Agreement, Judged, Meeting, agreement, agreement_by_labeler, meetings


@dataclass(frozen=True, slots=True)
class BatchFigures:
    batch: Batch
    progress: BatchProgress
    agreement: Agreement | None
    guidelines_version: int | None


@dataclass(frozen=True, slots=True)
class LabelerFigures:
    person: Person
    rankings: int
    demonstrations: int
    skipped: int
    median_seconds: float | None
    agreement: Agreement | None


@dataclass(frozen=True, slots=True)
class LabelingFigures:
    batches: list[BatchFigures]
    labelers: list[LabelerFigures]
    agreement: Agreement | None


def project_agreement(session: Session, project: Project) -> Agreement | None:
    """Agreement over all rankings of a project."""
    return agreement(meeting for found in _meetings_by_batch(session, project).values() for meeting in found)


def labeling_figures(session: Session, project: Project) -> LabelingFigures:
    found = _meetings_by_batch(session, project)
    every = [meeting for each in found.values() for meeting in each]
    batches = batches_of(session, project)
    progress = progress_of(session, batches)
    versions = _guidelines_versions(session, project)
    figures = [
        BatchFigures(
            batch=batch,
            progress=progress.get(batch.id, BatchProgress()),
            agreement=agreement(found.get(batch.id, [])),
            guidelines_version=versions.get(batch.guidelines_id) if batch.guidelines_id else None,
        )
        for batch in batches
    ]
    return LabelingFigures(figures, _labelers(session, project, every), agreement(every))


def _meetings_by_batch(session: Session, project: Project) -> dict[uuid.UUID, list[Meeting]]:
    """Labelers meet within a batch: under the same rules, over the same completions."""
    query = (
        select(Item.batch_id, Ranking.item_id, Ranking.person_id, RankingPlace.completion_id, RankingPlace.rank)
        .join(Ranking, Ranking.id == RankingPlace.ranking_id)
        .join(Item, Item.id == Ranking.item_id)
        .join(Batch, Batch.id == Item.batch_id)
        .where(Batch.project_id == project.id, Item.got > 1, ~Ranking.cannot_rank)
        .where(is_current(Ranking))
    )
    ranks: dict[tuple[uuid.UUID, uuid.UUID, uuid.UUID], dict[uuid.UUID, int]] = defaultdict(dict)
    for batch_id, item_id, person_id, completion_id, rank in session.execute(query):
        ranks[batch_id, item_id, person_id][completion_id] = rank
    judged: dict[uuid.UUID, list[Judged]] = defaultdict(list)
    for (batch_id, item_id, person_id), places in ranks.items():
        judged[batch_id].append(Judged(item_id, person_id, places))
    return {batch_id: list(meetings(each)) for batch_id, each in judged.items()}


def _guidelines_versions(session: Session, project: Project) -> dict[uuid.UUID, int]:
    query = select(Guidelines.id, Guidelines.version).where(Guidelines.project_id == project.id)
    return dict(session.execute(query).all())


def _labelers(session: Session, project: Project, found: list[Meeting]) -> list[LabelerFigures]:
    """Whoever submitted or skipped something here, the busiest first."""
    query = (
        select(Person, Assignment.state, Assignment.active_seconds, Batch.kind)
        .join(Assignment, Assignment.person_id == Person.id)
        .join(Item, Item.id == Assignment.item_id)
        .join(Batch, Batch.id == Item.batch_id)
        .where(Batch.project_id == project.id)
        .where(Assignment.state.in_([AssignmentState.submitted, AssignmentState.skipped]))
    )
    work: dict[uuid.UUID, list[tuple[AssignmentState, int, BatchKind]]] = defaultdict(list)
    people: dict[uuid.UUID, Person] = {}
    for person, state, seconds, kind in session.execute(query):
        people[person.id] = person
        work[person.id].append((state, seconds, kind))
    agreements = agreement_by_labeler(found)
    figures = [_labeler(people[each], work[each], agreements.get(each)) for each in people]
    return sorted(figures, key=lambda each: (-each.rankings - each.demonstrations, each.person.name))


def _labeler(
    person: Person, work: list[tuple[AssignmentState, int, BatchKind]], agreed: Agreement | None
) -> LabelerFigures:
    kinds = [kind for state, _, kind in work if state == AssignmentState.submitted]
    timed = [seconds for state, seconds, _ in work if state == AssignmentState.submitted and seconds]
    demonstrations = kinds.count(BatchKind.demonstration)
    return LabelerFigures(
        person=person,
        rankings=len(kinds) - demonstrations,
        demonstrations=demonstrations,
        skipped=len(work) - len(kinds),
        median_seconds=median(timed) if timed else None,
        agreement=agreed,
    )
