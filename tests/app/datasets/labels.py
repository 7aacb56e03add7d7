"""Labels for the tests of datasets, made straight in the tables."""

import itertools
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.core.clock import now
from app.labeling import service as labeling
from app.labeling.models import (
    Assignment,
    AssignmentState,
    BatchKind,
    Demonstration,
    Item,
    Ranking,
    RankingPlace,
    Rating,
)
from app.projects import service as projects
from app.projects.models import Project
from app.prompts.models import Prompt
from tests.factories import make_completion, make_model, make_prompt

_numbers = itertools.count(1)


def make_demonstration(
    session: Session,
    prompt: Prompt,
    person: Person,
    *,
    text: str = "A dog ran home.",
    supersedes: Demonstration | None = None,
) -> Demonstration:
    demonstration = Demonstration(
        prompt_id=prompt.id, person_id=person.id, text=text, supersedes_id=supersedes.id if supersedes else None
    )
    session.add(demonstration)
    session.flush()
    return demonstration


def make_ranking(
    session: Session,
    project: Project,
    person: Person,
    ranks: Sequence[int],
    *,
    prompt: Prompt | None = None,
    kind: BatchKind = BatchKind.ranking,
    supersedes: Ranking | None = None,
    cannot_rank: bool = False,
) -> Ranking:
    """A submitted ranking of as many new completions as there are ranks."""
    prompt = prompt or make_prompt(session, project)
    model = make_model(session, project)
    completions = [make_completion(session, prompt, model=model) for _ in ranks]
    batch = labeling.create_ranking_batch(session, project, completions_by_prompt={prompt.id: completions}, kind=kind)
    item = session.scalars(select(Item).where(Item.batch_id == batch.id)).one()
    assignment = Assignment(
        item_id=item.id, person_id=person.id, lease_until=now(), state=AssignmentState.submitted,
        submission_key=f"key-{next(_numbers)}", group=person.group,
    )  # fmt: skip
    session.add(assignment)
    session.flush()
    ranking = Ranking(
        assignment_id=assignment.id, item_id=item.id, person_id=person.id, cannot_rank=cannot_rank,
        supersedes_id=supersedes.id if supersedes else None,
    )  # fmt: skip
    session.add(ranking)
    session.flush()
    schema = projects.newest_rating_schema(session, project)
    assert schema is not None
    for completion, rank in zip(completions, ranks, strict=True):
        session.add(RankingPlace(ranking_id=ranking.id, completion_id=completion.id, rank=rank))
        session.add(
            Rating(ranking_id=ranking.id, completion_id=completion.id, rating_schema_id=schema.id,
                   likert={"overall": 8 - rank}, flags=["hallucination"] if rank > 2 else [])
        )  # fmt: skip
    session.flush()
    return ranking
