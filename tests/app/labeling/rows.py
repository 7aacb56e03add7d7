"""Batches and items for the labeling room's tests."""

from typing import Any

from sqlalchemy.orm import Session

from app.accounts.models import Group
from app.labeling import service
from app.labeling.models import Batch, BatchKind
from app.projects import service as projects
from app.projects.models import Project, RatingSchema
from app.prompts.models import UseCase
from tests.factories import make_completion, make_model, make_prompt

# The hallucination flag as the paper reports it: of closed-domain prompts only (section 4.1).
CLOSED: dict[str, Any] = {
    "likert": [{"key": "overall", "label": "Overall quality", "help": "Would you send it as it is?"}],
    "flags": [
        {"key": "fails_task", "label": "Fails the task"},
        {
            "key": "hallucination",
            "label": "States what the text does not say",
            "short": "Hallucination",
            "help": "Look for each fact in the prompt.",
            "use_cases": ["summarization", "closed_qa"],
        },
    ],
}


def publish_closed(session: Session, project: Project, **more: Any) -> RatingSchema:
    return projects.publish_rating_schema(session, project, {**CLOSED, **more})


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
    use_case: UseCase = UseCase.generation,
) -> Batch:
    model = make_model(session, project)
    by_prompt = {}
    for _ in range(items):
        prompt = make_prompt(session, project, use_case=use_case)
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
