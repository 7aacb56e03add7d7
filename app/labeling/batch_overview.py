"""What a batch's page tells: rules, progress, pace, reports, and the items page by page."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.labeling.models import Batch, Item, ItemPurpose
from app.labeling.pace import Pace, pace_of
from app.labeling.plans import count_labelers_for
from app.labeling.progress import BatchProgress, progress
from app.labeling.resolutions import Reported, reports_of
from app.projects.models import Guidelines, RatingSchema
from app.prompts.models import Prompt

PAGE_SIZE = 25


@dataclass(frozen=True, slots=True)
class BatchOverview:
    batch: Batch
    progress: BatchProgress
    pace: Pace
    labelers: int  # whose desk it reaches
    guidelines_version: int | None
    schema_version: int | None
    purposes: dict[ItemPurpose, int]
    reports: list[Reported]

    @property
    def stop_cord(self) -> Reported | None:
        """The stop cord that holds the batch, if one does."""
        held = [each for each in self.reports if each.is_stop_cord and each.report.resolved_at is None]
        return held[0] if held and self.batch.state == "paused" else None


@dataclass(frozen=True, slots=True)
class ItemRow:
    item: Item
    opening: str


@dataclass(frozen=True, slots=True)
class ItemPage:
    items: Sequence[ItemRow]
    purpose: ItemPurpose | None
    number: int
    last: int
    total: int


def overview_of(session: Session, batch: Batch) -> BatchOverview:
    found = progress(session, batch)
    return BatchOverview(
        batch=batch,
        progress=found,
        pace=pace_of(session, batch, found.left),
        labelers=count_labelers_for(session, batch),
        guidelines_version=session.scalar(select(Guidelines.version).where(Guidelines.id == batch.guidelines_id)),
        schema_version=session.scalar(select(RatingSchema.version).where(RatingSchema.id == batch.rating_schema_id)),
        purposes=_count_purposes(session, batch),
        reports=reports_of(session, batch),
    )


def _count_purposes(session: Session, batch: Batch) -> dict[ItemPurpose, int]:
    query = select(Item.purpose, func.count()).where(Item.batch_id == batch.id).group_by(Item.purpose)
    return dict(session.execute(query).all())


def items_of(session: Session, batch: Batch, *, purpose: ItemPurpose | None, page: int) -> ItemPage:
    """One page of the items in the order in which labelers get them."""
    conditions = [Item.batch_id == batch.id] + ([Item.purpose == purpose] if purpose else [])
    total = session.scalar(select(func.count()).select_from(Item).where(*conditions)) or 0
    last = max(1, -(-total // PAGE_SIZE))
    number = min(max(1, page), last)
    query = (
        select(Item, Prompt.messages)
        .join(Prompt, Prompt.id == Item.prompt_id)
        .where(*conditions)
        .order_by(Item.position, Item.id)
        .limit(PAGE_SIZE)
        .offset((number - 1) * PAGE_SIZE)
    )
    rows = [ItemRow(item, messages[-1]["content"]) for item, messages in session.execute(query)]
    return ItemPage(rows, purpose, number, last, total)
