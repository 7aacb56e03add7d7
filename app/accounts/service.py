"""People and their sign-ins."""

import re
import uuid
from datetime import timedelta

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session
from zxcvbn import zxcvbn

from app.accounts import audit
from app.accounts.models import AuditEvent, Group, Person, PersonState, ProviderIdentity, Role, SignInLink
from app.accounts.sessions import end_sessions, person_of_token, start_session  # noqa: F401  who signs in begins here
from app.core.clock import now
from app.core.config import get_settings
from app.core.errors import Conflict, Invalid, NotFound
from app.core.passwords import hash_password, new_token, password_matches, token_hash

MIN_PASSWORD, MAX_PASSWORD = 10, 1000
LEAST_SCORE = 3  # of 4: safe where hashes are slow, 1e8 guesses or more (Wheeler 2016)
RATED = 72  # characters that are looked at: rating takes ever longer
_KNOWN_TO_PROVIDER = exists().where(ProviderIdentity.person_id == Person.id)
_PART = r"[^@\s,;:<>()\[\]\"\\]+"  # without what means something else at the top of a letter
_EMAIL = re.compile(rf"{_PART}@{_PART}\.{_PART}|{_PART}@localhost")


class WrongPassword(Invalid):
    """One more guess that was wrong."""


def add_person(
    session: Session,
    email: str,
    *,
    name: str,
    role: Role,
    by: Person | None = None,
    group: Group = Group.training,
    is_simulated: bool = False,
    is_candidate: bool = False,
) -> Person:
    """A new person, who sets a password through a one-time link: `invited`, or to be screened first."""
    email = email.strip().lower()
    if not _EMAIL.fullmatch(email):
        raise Invalid(f"{email!r} is not an e-mail address.", fields={"email": "Write it as name@example.org."})
    if not name.strip():
        raise Invalid("A person needs a name.", fields={"name": "Write the name that colleagues know."})
    if session.scalar(select(Person.id).where(Person.email == email)):
        raise Conflict(f"{email} is here already.", mend="Find them under People.")
    if is_candidate and role != Role.labeler:
        raise Invalid("Only labelers are screened.", fields={"joins": f"A {role.value} joins at once."})
    state = PersonState.screening if is_candidate else PersonState.invited
    person = Person(email=email, name=name.strip(), role=role, group=group, is_simulated=is_simulated, state=state)
    session.add(person)
    session.flush()
    audit.record(session, by, "person.add", subject=person, role=role.value, group=group.value, state=state.value)
    return person


def people(session: Session) -> list[Person]:
    return list(session.scalars(select(Person).order_by(Person.role, Person.name)))


def known_to_provider(session: Session) -> set[uuid.UUID]:
    """Those who have come by single sign-on."""
    return set(session.scalars(select(ProviderIdentity.person_id)))


def person_by_id(session: Session, person_id: object) -> Person:
    person = session.get(Person, person_id)
    if person is None:
        raise NotFound("There is no such person.")
    return person


def person_by_email(session: Session, email: str) -> Person:
    person = session.scalar(select(Person).where(Person.email == email.strip().lower()))
    if person is None:
        raise NotFound(f"There is no one with the address {email}.", mend="See `touchstone user add --help`.")
    return person


def has_admin(session: Session) -> bool:
    """Whether an admin can sign in already: by a password, or as they did by the provider."""
    by_provider = (Person.state == PersonState.active) & _KNOWN_TO_PROVIDER
    query = select(Person.id).where(Person.role == Role.admin, Person.password_hash.is_not(None) | by_provider)
    return session.scalar(query.limit(1)) is not None


def new_sign_in_link(session: Session, person: Person) -> str:
    """The path of a one-time link for `person`; earlier unused links stop working."""
    if person.erased_at is not None:
        raise Conflict("This person was erased.", mend="Invite them anew if they are back.")
    session.execute(delete(SignInLink).where(SignInLink.person_id == person.id, SignInLink.used_at.is_(None)))
    token = new_token()
    expires = now() + timedelta(hours=get_settings().sign_in_link_hours)
    session.add(SignInLink(person_id=person.id, token_hash=token_hash(token), expires_at=expires))
    session.flush()
    return f"/welcome/{token}"


def person_of_link(session: Session, token: str) -> Person:
    """Whose unused link this is. Looking does not use it up: mail scanners look too."""
    return _unused_link(session, token)[1]


def _unused_link(session: Session, token: str) -> tuple[SignInLink, Person]:
    row = session.execute(
        select(SignInLink, Person)
        .join(Person, Person.id == SignInLink.person_id)
        .where(SignInLink.token_hash == token_hash(token), SignInLink.used_at.is_(None), SignInLink.expires_at > now())
    ).first()
    if row is None:
        raise NotFound("This link was used or has run out.", mend="Ask an admin for a new one, or sign in.")
    return row[0], row[1]


def use_link(session: Session, token: str, *, password: str) -> Person:
    """Set the password and use the link up. Whose it is may sign in, as far as the link goes."""
    link, person = _unused_link(session, token)
    set_password(person, password)
    link.used_at = now()
    end_sessions(session, person)  # whoever knew the old password is out
    audit.record(session, person, "person.use_link", subject=person)
    session.flush()
    return person


def set_password(person: Person, password: str) -> None:
    if len(password) < MIN_PASSWORD:
        raise Invalid("The password is too short.", fields={"password": f"Use {MIN_PASSWORD} characters or more."})
    if len(password) > MAX_PASSWORD:
        raise Invalid("The password is too long.", fields={"password": f"Use {MAX_PASSWORD} characters or fewer."})
    found = zxcvbn(
        password[:RATED], user_inputs=[person.email, *person.email.split("@"), *person.name.split(), "touchstone"]
    )
    if found["score"] < LEAST_SCORE:
        advice = " ".join([found["feedback"]["warning"], *found["feedback"]["suggestions"]]).strip()
        raise Invalid("The password is easy to guess.", fields={"password": advice or "Choose a longer one."})
    person.password_hash = hash_password(password)
    if person.state == PersonState.invited:
        person.state = PersonState.active


def person_by_password(session: Session, email: str, password: str) -> Person:
    """Who signs in. Unknown address and wrong password answer alike, and take as long."""
    person = session.scalar(select(Person).where(Person.email == email.strip().lower()))
    matches = password_matches(password, person.password_hash if person else None)
    if person is None or not matches:
        raise WrongPassword("The address or the password is wrong.", mend="Try again, or ask an admin for a new link.")
    refuse_paused(session, person)
    return person


def refuse_paused(session: Session, person: Person) -> None:
    if person.state == PersonState.paused:
        reason = _pause_reason(session, person)
        raise Invalid(f"Your work is paused{': ' + reason if reason else '.'}", mend="Ask an admin.")


def check_own_password(session: Session, person: Person, password: str) -> None:
    """That it is really them, for what an open screen must not be enough for. Who never had a password has none."""
    hashed = session.get_one(Person, person.id).password_hash
    if hashed is not None and not password_matches(password, hashed):
        raise WrongPassword("The password is wrong.", fields={"password": "It is not yours."})


def _pause_reason(session: Session, person: Person) -> str:
    """Why a lead paused the person, for the person to read; who proves to be them may know it."""
    query = select(AuditEvent).where(AuditEvent.subject_id == person.id, AuditEvent.action == "person.paused")
    event = session.scalar(query.order_by(AuditEvent.created_at.desc()).limit(1))
    return str(event.details.get("reason", "")) if event else ""


def set_state(session: Session, person: Person, state: PersonState, *, by: Person, reason: str = "") -> None:
    """Let in, screen or pause. Pausing signs the person out everywhere, and they read the reason when they sign in; who
    has no way in yet waits as invited."""
    _check_change(person, by)
    if state == PersonState.active and person.password_hash is None and not _came_by_provider(session, person):
        state = PersonState.invited
    before, person.state = person.state, state
    if state == PersonState.paused:
        end_sessions(session, person)
    why = {"reason": reason} if reason else {}
    audit.record(session, by, f"person.{state.value}", subject=person, before=before.value, **why)
    session.flush()


def _came_by_provider(session: Session, person: Person) -> bool:
    return session.scalar(select(Person.id).where(Person.id == person.id, _KNOWN_TO_PROVIDER)) is not None


def set_role(session: Session, person: Person, role: Role, *, by: Person) -> None:
    """Since nobody changes themselves, there is always an admin left."""
    _check_change(person, by)
    if role != person.role:
        before, person.role = person.role, role
        audit.record(session, by, "person.role", subject=person, before=before.value, role=role.value)
        session.flush()


def set_group(session: Session, person: Person, group: Group, *, by: Person) -> None:
    """What they get from now on. What they made stays what it was: each submission knows its group."""
    _check_change(person, by, themself=True)
    if group != person.group:
        before, person.group = person.group, group
        audit.record(session, by, "person.group", subject=person, before=before.value, group=group.value)
        session.flush()


def _check_change(person: Person, by: Person, *, themself: bool = False) -> None:
    if person.erased_at is not None:
        raise Conflict("This person was erased.", mend="Invite them anew if they are back.")
    if person.id == by.id and not themself:
        raise Invalid("You can't pause yourself or change your own role.", mend="Ask another admin.")


def count_admins(session: Session, *, besides: Person) -> int:
    """How many others may act as admins. Their rows stay locked, so that two admins can't go at once."""
    query = select(Person.id).where(
        Person.role == Role.admin,
        Person.state == PersonState.active,
        Person.erased_at.is_(None),
        Person.id != besides.id,
    )
    return len(session.scalars(query.order_by(Person.id).with_for_update()).all())
