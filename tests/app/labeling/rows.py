"""Batches and items for the labeling room's tests."""

from sqlalchemy.orm import Session

from app.accounts.models import Group
from app.labeling import service
from app.labeling.models import Batch, BatchKind
from app.projects.models import Project
from tests.factories import make_completion, make_model, make_prompt


def make_ranking_batch(
    session: Session,
    project: Project,
    *,
    items: int = 1,
    completions: int = 4,
    overlap: int = 1,
    kind: BatchKind = BatchKind.ranking,
    group: Group | None = None,
    priority: int = 0,
    name: str = "",
) -> Batch:
    model = make_model(session, project)
    by_prompt = {}
    for _ in range(items):
        prompt = make_prompt(session, project)
        by_prompt[prompt.id] = [make_completion(session, prompt, model=model) for _ in range(completions)]
    return service.create_ranking_batch(
        session,
        project,
        completions_by_prompt=by_prompt,
        overlap=overlap,
        kind=kind,
        group=group,
        priority=priority,
        name=name,
    )


def make_demonstration_batch(
    session: Session, project: Project, *, items: int = 1, overlap: int = 1, priority: int = 0
) -> Batch:
    prompts = [make_prompt(session, project) for _ in range(items)]
    return service.create_demonstration_batch(session, project, prompts=prompts, overlap=overlap, priority=priority)
