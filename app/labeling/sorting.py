"""Labelers say what prompts without a use case are for, before these go into a batch."""

import random
import uuid
from collections import Counter

from sqlalchemy import ColumnElement, cast, exists, func, or_, select, update
from sqlalchemy.orm import Session
from sqlalchemy.types import String

from app.accounts.models import Person, PersonState
from app.accounts.preferences import preferences_of
from app.core.clock import now
from app.core.errors import Conflict, Forbidden, NotFound
from app.labeling.models import Batch, Item, UseCaseLabel
from app.projects.models import Project
from app.projects.pauses import is_paused_in
from app.projects.settings import settings_of
from app.prompts.models import Prompt, UseCase
from app.prompts.service import COUNTED, HAS_NO_USE_CASE

AMONG = 50  # prompts: two labelers seldom sort the same one at once


def next_to_sort(session: Session, project: Project, person: Person, *, skipped: uuid.UUID | None) -> Prompt | None:
    """One of the first prompts that this person has not sorted yet; the skipped one only when no other is left."""
    query = select(Prompt).where(*_for(project, person)).order_by(Prompt.id).limit(AMONG)
    found = session.scalars(query).all()
    others = [each for each in found if each.id != skipped] or found
    return random.choice(others) if others else None


def count_to_sort(session: Session, project: Project, person: Person) -> int:
    """How many there are for this person, COUNTED at most."""
    some = select(Prompt.id).where(*_for(project, person)).limit(COUNTED).subquery()
    return session.scalar(select(func.count()).select_from(some)) or 0


def _for(project: Project, person: Person) -> list[ColumnElement[bool]]:
    """Prompts in use that are open and in no batch, that this person said nothing of, and that hold nothing they
    avoid."""
    in_a_batch = exists().where(Item.prompt_id == Prompt.id)
    said = exists().where(UseCaseLabel.prompt_id == Prompt.id, UseCaseLabel.person_id == person.id)
    marks = cast(Prompt.flags, String)
    avoided = [marks.contains(f'"{content.value}"') for content in sorted(preferences_of(person).avoided)]
    return [
        Prompt.project_id == project.id,
        *HAS_NO_USE_CASE,
        ~Prompt.is_retired,
        ~said,
        ~in_a_batch,
        ~or_(False, *avoided),
    ]


def shown_before(session: Session, project: Project, person: Person, prompt_id: uuid.UUID) -> Prompt | None:
    """The prompt, if this person sorted it or it is among those for them; an address opens no other."""
    mine = select(Prompt).where(Prompt.id == prompt_id)
    if own_word(session, person, prompt_id) is not None:
        return session.scalar(mine.where(Prompt.project_id == project.id))
    return session.scalar(mine.where(*_for(project, person)))


def refuse_who_may_not(session: Session, project: Project, person: Person) -> None:
    """Forbidden for those who get no work here now."""
    if person.state == PersonState.screening:
        raise Forbidden("Your first items are for getting to know each other.", mend="Go to your desk.")
    if session.scalar(select(is_paused_in(project.id, person.id))):
        raise Forbidden("Your work in this project is paused.", mend="The desk says why, and whom to ask.")


def say_use_case(session: Session, project: Project, person: Person, prompt_id: uuid.UUID, said: UseCase) -> Prompt:
    """Keep what a labeler takes a prompt for; once enough agree, it is so. Conflict: labels go by its use case now."""
    refuse_who_may_not(session, project, person)
    prompt = session.get(Prompt, prompt_id, with_for_update=True)
    if prompt is None or prompt.project_id != project.id:
        raise NotFound("There is no such prompt in this project.", mend="Take the next one.")
    votes = _votes(session, prompt)
    if prompt.is_retired or _is_in_a_batch(session, prompt) or not (votes or prompt.use_case == UseCase.other):
        raise Conflict("This prompt needs no sorting any more.", mend="Take the next one; nothing of yours is lost.")
    session.add(UseCaseLabel(prompt_id=prompt.id, person_id=person.id, use_case=said))
    session.flush()
    ordered = Counter((votes | {person.id: said}).values()).most_common(2)
    (first, most), runner_up = ordered[0], ordered[1][1] if len(ordered) > 1 else 0
    if most >= settings_of(project).use_case_votes and most > runner_up:
        prompt.use_case, prompt.use_case_fixed_at = first, now()
    return prompt


def _votes(session: Session, prompt: Prompt) -> dict[uuid.UUID, UseCase]:
    """The newest word of each person on it."""
    query = select(UseCaseLabel.person_id, UseCaseLabel.use_case).where(UseCaseLabel.prompt_id == prompt.id)
    found = session.execute(query.order_by(UseCaseLabel.created_at, UseCaseLabel.id))
    return dict(found.all())


def _is_in_a_batch(session: Session, prompt: Prompt) -> bool:
    return bool(session.scalar(select(exists().where(Item.prompt_id == prompt.id))))


def fix_use_cases(session: Session, batch: Batch) -> None:
    """From here on what is asked about the batch's prompts goes by their use cases: unknown ones stay unknown."""
    its_prompts = select(Item.prompt_id).where(Item.batch_id == batch.id)
    session.execute(update(Prompt).where(Prompt.id.in_(its_prompts), *HAS_NO_USE_CASE).values(use_case_fixed_at=now()))


def own_word(session: Session, person: Person, prompt_id: uuid.UUID) -> UseCaseLabel | None:
    """The newest that this person said of a prompt."""
    mine = select(UseCaseLabel).where(UseCaseLabel.prompt_id == prompt_id, UseCaseLabel.person_id == person.id)
    return session.scalar(mine.order_by(UseCaseLabel.created_at.desc(), UseCaseLabel.id.desc()).limit(1))
