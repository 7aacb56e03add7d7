"""The audit log: who changed which state."""

from typing import Any

from sqlalchemy.orm import Session

from app.accounts.models import AuditEvent, Person
from app.core.db import Identified


def record(session: Session, person: Person | None, action: str, *, subject: Identified, **details: Any) -> None:
    """Add one line: `person` (none: the system) did `action` to `subject`."""
    session.add(
        AuditEvent(
            person_id=person.id if person else None,
            action=action,
            subject_id=subject.id,
            subject_kind=type(subject).__name__.lower(),
            details=details,
        )
    )
