"""Sign-ins that last: begun, recognised, seen and ended. Each is a row, and without its row it is none."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Boolean, ColumnElement, bindparam, delete, or_, select, update
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import Person, PersonState, Role, SignIn
from app.core.clock import now
from app.core.config import get_settings
from app.core.errors import NotFound
from app.core.passwords import new_token, token_hash

SEEN_EVERY = timedelta(minutes=5)  # a row written for each request would cost more than the request
LONGEST_AGENT = 300


@dataclass(frozen=True, slots=True)
class Computer:
    """From where someone signs in."""

    address: str = ""
    agent: str = ""


def start_session(
    session: Session, person: Person, computer: Computer = Computer(), *, has_second_step: bool = False
) -> str:
    """A new sign-in's token, which is nowhere kept. Those of the person that have run out are forgotten."""
    session.execute(delete(SignIn).where(SignIn.person_id == person.id, ~_lasts()))
    token = new_token()
    row = SignIn(
        person_id=person.id,
        token_hash=token_hash(token),
        expires_at=now() + timedelta(days=get_settings().session_days),
        address=computer.address,
        agent=computer.agent[:LONGEST_AGENT],
        has_second_step=has_second_step,
    )
    session.add(row)
    session.flush()
    return token


class SignedInAs(NamedTuple):
    """Who a token says is there."""

    person: Person
    sign_in_id: uuid.UUID
    last_seen_at: datetime


_OF_TOKEN = (  # built once: every request asks
    select(Person, SignIn.id, SignIn.last_seen_at)
    .join(SignIn, SignIn.person_id == Person.id)
    .where(SignIn.token_hash == bindparam("token_hash"), SignIn.expires_at > bindparam("now"))
    .where(SignIn.last_seen_at > bindparam("idle_since"), Person.state != PersonState.paused)
    .where(or_(bindparam("is_enough", type_=Boolean), SignIn.has_second_step, Person.role != Role.admin))
)


def signed_in_as(session: Session, token: str) -> SignedInAs | None:
    """Whose sign-in this is; nobody's when it has run out, the person is paused, or an admin needs a second step."""
    moment, settings = now(), get_settings()
    values = {
        "token_hash": token_hash(token),
        "now": moment,
        "idle_since": moment - timedelta(hours=settings.session_idle_hours),
        "is_enough": not settings.second_factor_of_admins,
    }
    row = session.execute(_OF_TOKEN, values).first()
    return SignedInAs(*row) if row else None


def person_of_token(session: Session, token: str) -> Person | None:
    found = signed_in_as(session, token)
    return found.person if found else None


def see(session: Session, sign_in_id: uuid.UUID) -> None:
    """The sign-in is in use."""
    query = update(SignIn).where(SignIn.id == sign_in_id).values(last_seen_at=now())
    session.execute(query.execution_options(synchronize_session=False))


def took_second_step(session: Session, sign_in_id: uuid.UUID | None) -> None:
    session.execute(update(SignIn).where(SignIn.id == sign_in_id).values(has_second_step=True))


def _lasts() -> ColumnElement[bool]:
    idle_since = now() - timedelta(hours=get_settings().session_idle_hours)
    return (SignIn.expires_at > now()) & (SignIn.last_seen_at > idle_since)


def sign_ins_of(session: Session, person: Person) -> list[SignIn]:
    """Those that last, the one in use last first."""
    query = select(SignIn).where(SignIn.person_id == person.id, _lasts())
    return list(session.scalars(query.order_by(SignIn.last_seen_at.desc(), SignIn.id.desc())))


def sign_out(session: Session, token: str) -> None:
    session.execute(delete(SignIn).where(SignIn.token_hash == token_hash(token)))


def end_sign_in(session: Session, person: Person, sign_in_id: uuid.UUID) -> None:
    """One of their own ends with its next request."""
    row = session.scalar(select(SignIn).where(SignIn.id == sign_in_id, SignIn.person_id == person.id))
    if row is None:
        raise NotFound("You have no such sign-in.", mend="It may have ended already.")
    audit.record(session, person, "person.sign_in_ended", subject=person)
    session.delete(row)
    session.flush()


def end_sessions(session: Session, person: Person, *, besides: uuid.UUID | None = None) -> int:
    """All of a person's sign-ins end, but for one. Returns how many there were."""
    query = delete(SignIn).where(SignIn.person_id == person.id)
    ended = session.execute(query.where(SignIn.id != besides) if besides else query)
    return int(ended.rowcount)  # type: ignore[attr-defined]


def end_others(session: Session, person: Person, *, by: Person, besides: uuid.UUID | None = None) -> int:
    """As `end_sessions`, by someone who wanted it, so that it is on record."""
    count = end_sessions(session, person, besides=besides)
    audit.record(session, by, "person.sign_ins_ended", subject=person, count=count)
    return count


_BROWSERS = (  # in this order: most of them also call themselves the ones behind
    ("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("FxiOS/", "Firefox"), ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"), ("Safari/", "Safari"), ("curl/", "curl"), ("python", "a Python script"),
)  # fmt: skip
_SYSTEMS = (
    ("iPhone", "an iPhone"), ("iPad", "an iPad"), ("Android", "Android"), ("CrOS", "ChromeOS"), ("Windows", "Windows"),
    ("Mac OS X", "a Mac"), ("Linux", "Linux"),
)  # fmt: skip


def in_words(agent: str) -> str:
    """`Firefox on Linux`, as far as the browser says."""
    browser = next((name for mark, name in _BROWSERS if mark in agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    return " on ".join(filter(None, (browser, system))) or "An unknown program"
