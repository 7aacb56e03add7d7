"""The way in: a password, then a second step where one is asked for, and no session before that."""

import json
import uuid
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from app.accounts import second_factor, service, sessions, sign_in_limits
from app.accounts.models import Person, PersonState, Role
from app.accounts.second_factor import WrongCode
from app.accounts.service import WrongPassword
from app.accounts.sessions import Computer
from app.core.config import Passwords, get_settings
from app.core.db import reading, writing
from app.core.errors import Forbidden, Invalid, SignInNeeded
from app.core.passwords import token_hash
from app.core.sealing import Unreadable, seal, unseal

HALF_WAY, HALF_WAY_LASTS = "half way in", timedelta(minutes=10)


class SecondStepNeeded(Invalid):
    """The password was right, and is not enough."""


@dataclass(frozen=True, slots=True)
class Inside:
    """Who is in, by the token of a new session."""

    token: str


@dataclass(frozen=True, slots=True)
class HalfWay:
    """Who still has to take the second step: a sealed note of it, for their browser to keep meanwhile."""

    note: str


def by_password(email: str, password: str, computer: Computer, *, then: str = "/") -> Inside | HalfWay:
    """Who guessed too often is told to wait, whatever the password."""
    with reading() as session:  # to check a password takes long, and others wait for their turn to write
        sign_in_limits.refuse_too_many(session, email, computer.address)
        try:
            person = service.person_by_password(session, email, password)
        except WrongPassword:
            with writing() as counting:
                sign_in_limits.count_failure(counting, email, computer.address)
            raise
    refuse_password(person)
    return proven(person, computer, then=then)


def may_use_password(person: Person) -> bool:
    """Where passwords are for admins alone, the others come by the provider."""
    return get_settings().passwords is not Passwords.admins or person.role == Role.admin


def refuse_password(person: Person) -> None:
    if not may_use_password(person):
        raise Forbidden("Passwords are for admins here.", mend=f"Sign in with {get_settings().oidc_name}.")


def proven(person: Person, computer: Computer, *, then: str = "/", by_provider: bool = False) -> Inside | HalfWay:
    """Who someone is has been shown once: by a password, a link or a provider."""
    has_second_step = by_provider and get_settings().oidc_is_second_factor
    with writing() as session:
        if has_second_step:
            return Inside(sessions.start_session(session, person, computer, has_second_step=True))
        if second_factor.is_on(session, person) or second_factor.is_required(person):
            return HalfWay(_note(person, then))
        sign_in_limits.forget_failures(session, person.email, computer.address)
        return Inside(sessions.start_session(session, person, computer))


def _note(person: Person, then: str) -> str:
    return seal(json.dumps({"id": str(person.id), "knows": _knows(person), "then": then}), HALF_WAY)


def _knows(person: Person) -> str:
    """Changes with the password, so that nobody half way in outlasts a new one."""
    return token_hash(f"{person.id} {person.password_hash}")


def person_half_way(session: Session, note: str) -> tuple[Person, str]:
    """Who takes the second step, and where they want to go then. SignInNeeded: that was too long ago."""
    again = SignInNeeded("That took too long, or your password has changed.", mend="Sign in again.")
    try:
        read = json.loads(unseal(note, HALF_WAY, within=HALF_WAY_LASTS))
    except Unreadable:
        raise again from None
    person = session.get(Person, uuid.UUID(read["id"]))
    if person is None or person.state == PersonState.paused or _knows(person) != read["knows"]:
        raise again
    return person, str(read["then"])


def by_code(person: Person, code: str, computer: Computer) -> str:
    """The second step. Returns the token of the session that begins."""
    with counting_codes(person, computer), writing() as session:
        second_factor.check(session, person, code)
        return _begin(session, person, computer)


def by_first_code(person: Person, code: str, computer: Computer) -> tuple[str, list[str]]:
    """The second step of who needs a second factor and had none: the session's token, and recovery codes."""
    with counting_codes(person, computer), writing() as session:
        codes = second_factor.confirm(session, person, code)
        return _begin(session, person, computer), codes


def _begin(session: Session, person: Person, computer: Computer) -> str:
    sign_in_limits.forget_failures(session, person.email, computer.address)
    return sessions.start_session(session, person, computer, has_second_step=True)


class counting_codes:  # noqa: N801  reads as a statement
    """Refuses whoever guessed too many codes of a person, and counts one more that is wrong."""

    def __init__(self, person: Person, computer: Computer) -> None:
        self.person, self.computer = person, computer

    def __enter__(self) -> None:
        with reading() as session:
            sign_in_limits.refuse_too_many(session, self.person.email, self.computer.address)
            sign_in_limits.refuse_too_many_codes(session, self.person.email)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, WrongCode | WrongPassword):
            with writing() as session:
                sign_in_limits.count_failure(session, self.person.email, self.computer.address)
                if isinstance(error, WrongCode):
                    sign_in_limits.count_wrong_code(session, self.person.email, self.computer.address)
