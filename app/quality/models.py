"""Whose work is not used, from when to when, and why. The work itself stays."""

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, Identified


class Exclusion(Identified, Base):
    """A person's labels of a project are left out of new snapshots while this stands."""

    __tablename__ = "exclusion"
    __table_args__ = (Index(None, "project_id", "person_id"),)

    project_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"))
    reason: Mapped[str]
    labels_from: Mapped[datetime | None]  # none: from the first
    labels_until: Mapped[datetime | None]  # none: to the last, and those to come
    by_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    lifted_at: Mapped[datetime | None]
    lifted_by_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"))
