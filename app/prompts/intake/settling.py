"""What has arrived is put into use or held, chunk by chunk, as the comparison decided; what is held, taken back."""

import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import Person
from app.core.clock import now
from app.core.errors import NotFound
from app.prompts.intake import service
from app.prompts.intake.comparing import Compared
from app.prompts.intake.settings import ImportSettings
from app.prompts.models import HeldFor, ImportState, Prompt, PromptImport

ROWS_AT_ONCE = 1000
OPENING = 80


def settle_chunk(
    session: Session, held: PromptImport, found: Compared, settings: ImportSettings, *, start: int
) -> bool:
    """Decide about the next prompts from `start` on, a place in `found`. Whether the import is to stop."""
    row = service.held(session, held.id, held.claimed_by or "")
    end = min(start + ROWS_AT_ONCE, len(found.ids))
    decided = {found.id_of(place): found.decision(place) for place in range(start, end)}
    still = select(Prompt.id).where(Prompt.id.in_(decided), Prompt.held_for == HeldFor.arriving)
    decided = {prompt_id: decided[prompt_id] for prompt_id in session.scalars(still)}
    free = [prompt_id for prompt_id, (reason, _, _) in decided.items() if reason is None]
    _release(session, free)
    others = _openings(session, {other for _, other, _ in decided.values() if other})
    notes = [{"id": prompt_id, "held_for": reason, "held_note": _note(reason, others.get(other), alike, settings)}
             for prompt_id, (reason, other, alike) in decided.items() if reason]  # fmt: skip
    if notes:
        session.execute(update(Prompt), notes)
    counted = Counter(f"held_{reason.value}" for reason, _, _ in decided.values() if reason)
    row.counts = dict(Counter(row.counts) + counted)
    row.note = f"Puts them into use: {end - found.pool:,} of {len(found.ids) - found.pool:,}"
    row.heartbeat_at, row.attempts = now(), 1
    return row.is_stop_asked


def _release(session: Session, ids: Sequence[uuid.UUID]) -> None:
    if ids:
        session.execute(
            update(Prompt)
            .where(Prompt.id.in_(ids))
            .values(is_retired=False, held_for=None, held_note="")
            .execution_options(synchronize_session=False)
        )


def _openings(session: Session, ids: set[uuid.UUID]) -> dict[uuid.UUID | None, str]:
    if not ids:
        return {}
    found = session.execute(select(Prompt.id, Prompt.messages).where(Prompt.id.in_(ids)))
    return {each.id: _opening(each.messages) for each in found}


def _opening(messages: Sequence[Any]) -> str:
    text = " ".join(str(messages[-1]["content"]).split())
    return f"“{text[:OPENING]}…”" if len(text) > OPENING else f"“{text}”"


def _note(reason: HeldFor | None, other: str | None, alike: float, settings: ImportSettings) -> str:
    if reason is HeldFor.cap:
        return f"more than {settings.most_of_one:,} of its {settings.cap_by.value}"
    if reason is HeldFor.prefix:
        return f"begins like {other} for {settings.prefix_characters:,} characters"
    return f"{alike:.2f} like {other}"


def held_prompts(
    session: Session, row: PromptImport, reason: HeldFor, *, after: uuid.UUID | None = None, limit: int = 50
) -> Sequence[Prompt]:
    """What an import holds for a reason, in the order of its file."""
    query = select(Prompt).where(
        Prompt.import_id == row.id, Prompt.held_for == reason, Prompt.is_retired.is_(True)
    )  # fmt: skip
    if after and (last := session.get(Prompt, after)) is not None:
        later = (Prompt.import_row > last.import_row) | ((Prompt.import_row == last.import_row) & (Prompt.id > last.id))
        query = query.where(later)
    return session.scalars(query.order_by(Prompt.import_row, Prompt.id).limit(limit)).all()


def begin_taking_back(session: Session, row: PromptImport, reason: HeldFor, *, by: Person) -> None:
    """Say that all that a step held is wanted back. NotFound: its import is not done."""
    if row.state != ImportState.done or reason is HeldFor.arriving:
        raise NotFound("An import's prompts come into use when it is done.", mend="Continue it, or discard it.")
    held = select(func.count()).select_from(Prompt).where(Prompt.import_id == row.id, Prompt.held_for == reason)
    count = session.scalar(held)
    audit.record(session, by, "prompts.import.take_back", subject=row, reason=reason.value, prompts=count)


def take_back_next(session: Session, row: PromptImport, reason: HeldFor) -> int:
    """Put into use the next prompts that a step held. Returns how many they were; none: no more are held."""
    row, name = service.locked(session, row), f"taken_back_{reason.value}"
    held = select(Prompt.id).where(Prompt.import_id == row.id, Prompt.held_for == reason).limit(ROWS_AT_ONCE)
    ids = session.scalars(held.with_for_update()).all()
    _release(session, ids)
    row.counts = {**row.counts, name: row.counts.get(name, 0) + len(ids)} if ids else row.counts
    return len(ids)
