"""Prompts that a step held, decided about one by one: used as they are, masked, or retired."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import Person
from app.core.errors import Conflict, NotFound
from app.prompts.intake import service
from app.prompts.intake.personal import find_personal_data, masked
from app.prompts.models import HeldFor, ImportState, Prompt, PromptImport
from app.prompts.splits import content_hash


class Decision(StrEnum):
    use = "use"
    mask = "mask"
    retire = "retire"


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text, and what kind of personal data it is, if it is any."""

    text: str
    kind: str = ""


def pieces(text: str) -> list[Piece]:
    """A text cut where its personal data begins and ends."""
    found, at = [], 0
    for each in find_personal_data(text):
        found += [Piece(text[at : each.start]), Piece(text[each.start : each.end], each.kind)]
        at = each.end
    return [piece for piece in [*found, Piece(text[at:])] if piece.text]


def decide(
    session: Session, row: PromptImport, reason: HeldFor, prompt_id: uuid.UUID, decision: Decision, *, by: Person
) -> None:
    """Decide about one prompt that is held. One that somebody else has just decided about is a Conflict."""
    if row.state != ImportState.done or reason is HeldFor.arriving:
        raise NotFound("There is nothing to decide about before the import is done.")
    row = service.locked(session, row)
    query = select(Prompt).where(Prompt.id == prompt_id, Prompt.import_id == row.id, Prompt.held_for == reason)
    prompt = session.scalar(query.with_for_update().execution_options(populate_existing=True))
    if prompt is None:
        raise Conflict("This prompt was decided about meanwhile.", mend="Go on with the next.")
    if decision is Decision.mask:
        _mask(session, prompt)
    prompt.held_for, prompt.held_note, prompt.is_retired = None, "", decision is Decision.retire
    name = f"reviewed_{decision.value}"
    row.counts = {**row.counts, name: row.counts.get(name, 0) + 1}
    audit.record(session, by, "prompt.review", subject=prompt, reason=reason.value, decision=decision.value)
    session.flush()


def _mask(session: Session, prompt: Prompt) -> None:
    turns: Sequence[dict[str, Any]] = [{**turn, "content": masked(turn["content"])} for turn in prompt.messages]
    digest = content_hash(list(turns))
    same = select(Prompt.id).where(Prompt.project_id == prompt.project_id, Prompt.content_hash == digest)
    if session.scalar(same.where(Prompt.id != prompt.id)):
        raise Conflict("Masked, this prompt is the same as one that is here.", mend="Retire it.")
    prompt.messages, prompt.content_hash, prompt.fingerprint = list(turns), digest, None
