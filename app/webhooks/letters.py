"""Letters to a project's admins who want them: written beside what they tell of, sent by the scheduler until they are
taken. As webhooks are rows first, so are these."""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import Person, PersonState, Role
from app.core import mail
from app.core.clock import has_come, now
from app.core.config import get_settings
from app.core.db import reading, writing
from app.core.errors import Conflict, Invalid
from app.projects.models import Project
from app.webhooks.models import DeliveryState, Letter, LetterKind, LetterWish
from app.webhooks.schedule import BATCH, LETTER_TAKES, LONGEST, WAITS

SHOWN = 20
logger = logging.getLogger(__name__)


def wish(session: Session, project: Project, person: Person, kinds: Sequence[str]) -> None:
    """What this admin is told of in this project from now on."""
    wanted = [kind for kind in LetterKind if kind.value in kinds and kind is not LetterKind.trial]
    if len(wanted) != len(set(kinds)):
        raise Invalid("There is no such letter.", fields={"kinds": "Choose from those on the page."})
    session.execute(delete(LetterWish).where(LetterWish.project_id == project.id, LetterWish.person_id == person.id))
    if wanted:
        session.add(LetterWish(project_id=project.id, person_id=person.id, kinds=wanted))
    audit.record(session, person, "letters.wish", subject=project, kinds=[kind.value for kind in wanted])
    session.flush()


def wishes_of(session: Session, project: Project) -> list[tuple[Person, list[str]]]:
    """Who gets which, of those who may."""
    query = select(Person, LetterWish.kinds).join(LetterWish, LetterWish.person_id == Person.id)
    rows = session.execute(query.where(LetterWish.project_id == project.id, *_may()).order_by(Person.name))
    return [(person, kinds) for person, kinds in rows]


def _may() -> tuple[ColumnElement[bool], ...]:
    return Person.role == Role.admin, Person.state == PersonState.active, Person.erased_at.is_(None)


def letters_of(session: Session, project: Project) -> list[tuple[Letter, str]]:
    """The newest, each with whom it is for."""
    query = select(Letter, Person.name).join(Person, Person.id == Letter.person_id)
    rows = session.execute(query.where(Letter.project_id == project.id).order_by(Letter.id.desc()).limit(SHOWN))
    return [(letter, name) for letter, name in rows]


def write(session: Session, project_id: uuid.UUID, kind: LetterKind, *, subject: str, text: str, path: str) -> None:
    """To all who want to know, when this transaction is committed and not otherwise."""
    if not mail.is_on():
        return
    project = session.get_one(Project, project_id)
    for person, kinds in wishes_of(session, project):
        if kind.value in kinds:
            _add(session, project, person, kind, subject, text, path)


def try_it(session: Session, project: Project, person: Person) -> Letter:
    """A letter to oneself, to see that they arrive."""
    if not mail.is_on():
        raise Conflict("No e-mail is sent from here.", mend="TOUCHSTONE_SMTP_HOST and its like switch it on.")
    text = "If you read this, e-mail works."
    return _add(session, project, person, LetterKind.trial, "A trial", text, "/mail")


def _add(
    session: Session, project: Project, person: Person, kind: LetterKind, subject: str, text: str, path: str
) -> Letter:
    here = f"{get_settings().address}/p/{project.slug}"
    closing = f"-- \nTouchstone, {project.name}. You chose to be told: {here}/mail"
    row = Letter(
        project_id=project.id,
        person_id=person.id,
        kind=kind,
        subject=f"[{project.name}] {subject}"[:200],
        text=f"{text}\n\n{here}{path}\n\n{closing}\n",
    )
    session.add(row)
    session.flush()
    return row


# What the scheduler does


@dataclass(frozen=True, slots=True)
class DueLetter:
    """What is to be sent now; to nobody where its reader may not read it any more."""

    id: uuid.UUID
    address: str | None
    subject: str
    text: str
    attempts: int


def send_due_letters() -> int:
    """Send what is due now, at most a batch. Returns how many were tried.

    Each is taken when its turn comes: one that waits behind a slow server is nobody's yet.
    """
    sent = 0
    while sent < BATCH and mail.is_on() and _is_due():
        with writing() as session:
            due = take_due(session)
        if due is None:  # another scheduler has it
            break
        error = _send(due)
        with writing() as session:
            settle(session, due, error=error)
        sent += 1
    return sent


def _is_due() -> bool:
    with reading() as session:
        return session.scalar(select(Letter.id).where(*_due()).limit(1)) is not None


def _due() -> tuple[ColumnElement[bool], ...]:
    return Letter.state == DeliveryState.waiting, has_come(Letter.next_at, at=now(), longest=LONGEST)


def take_due(session: Session) -> DueLetter | None:
    """The first that is due, taken for as long as sending may take: any number of schedulers may ask at once, and one
    that dies loses nothing."""
    query = (
        select(Letter, Person)
        .join(Person, Person.id == Letter.person_id)
        .where(*_due())
        .order_by(Letter.next_at)
        .limit(1)
        .with_for_update(skip_locked=True, of=Letter)
    )
    if (found := session.execute(query).first()) is None:
        return None
    letter, person = found
    letter.attempts, letter.next_at = letter.attempts + 1, now() + LETTER_TAKES
    may = person.role == Role.admin and person.state == PersonState.active
    return DueLetter(letter.id, person.email if may else None, letter.subject, letter.text, letter.attempts)


def _send(due: DueLetter) -> str | None:
    """What went wrong, if something did."""
    if due.address is None:
        return None
    try:
        mail.send(mail.message_to(due.address, subject=due.subject, text=due.text, message_id=str(due.id)))
    except mail.NotSent as error:
        logger.warning("a letter waits: %s", error.message)
        return error.message
    except Exception as error:  # an address that is none, and whatever else: the letters behind it go out
        logger.exception("a letter could not be sent")
        return f"{type(error).__name__}: {str(error)[:300]}"
    return None


def settle(session: Session, due: DueLetter, *, error: str | None) -> None:
    """What became of an attempt; one that failed is tried again later, or given up. Only the newest attempt counts."""
    values: dict[str, object] = {"error": error}
    if due.address is None:
        values |= {"state": DeliveryState.failed, "error": "They are no admin any more, or paused: nothing was sent."}
    elif error is None:
        values |= {"state": DeliveryState.delivered, "delivered_at": now()}
    elif due.attempts > len(WAITS):
        values |= {"state": DeliveryState.failed}
    else:
        values |= {"next_at": now() + WAITS[due.attempts - 1]}
    same = (Letter.id == due.id, Letter.attempts == due.attempts, Letter.state == DeliveryState.waiting)
    session.execute(update(Letter).where(*same).values(**values).execution_options(synchronize_session=False))
