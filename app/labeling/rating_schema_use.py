"""Which batches go by which version of the rating schema, and how much was labeled under it."""

import uuid
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.labeling.models import Batch, Item
from app.projects.models import Project, RatingSchema

MOST_BATCHES = 50


@dataclass(frozen=True, slots=True)
class Use:
    batches: int = 0
    labels: int = 0


def use_by_version(session: Session, project: Project) -> dict[uuid.UUID, Use]:
    """Of each version that a batch names, by its id."""
    query = (
        select(Batch.rating_schema_id, func.count(Batch.id.distinct()), func.coalesce(func.sum(Item.got), 0))
        .outerjoin(Item, Item.batch_id == Batch.id)
        .where(Batch.project_id == project.id, Batch.rating_schema_id.is_not(None))
        .group_by(Batch.rating_schema_id)
    )
    return {schema_id: Use(batches, labels) for schema_id, batches, labels in session.execute(query) if schema_id}


def batches_under(session: Session, schema: RatingSchema) -> list[Batch]:
    """The newest that go by this version."""
    query = select(Batch).where(Batch.rating_schema_id == schema.id).order_by(Batch.created_at.desc(), Batch.id)
    return list(session.scalars(query.limit(MOST_BATCHES)))
