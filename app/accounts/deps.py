"""Who is asking: dependencies that every route states, or asks in its first line."""

import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.accounts import sessions, tokens
from app.accounts.models import Person, Role
from app.accounts.token_limits import count_request
from app.core.clock import now
from app.core.config import get_settings
from app.core.db import OnlyReading, reading, writing
from app.core.errors import Forbidden, SignInNeeded

COOKIE = "touchstone_session"
logger = logging.getLogger(__name__)


def cookie_name(name: str = COOKIE) -> str:
    """Over TLS a name that browsers take only from this very host, over TLS: no other host of its domain sets it.
    With the base path in it, so that a second Touchstone on the host has sign-ins of its own."""
    own = name + get_settings().base_path.replace("/", "~")
    return f"__Host-{own}" if get_settings().is_over_tls else own


def optional_person(request: Request) -> Person | None:
    """The person whose session cookie or API token this is, if any. Pages find them as `person`."""
    with reading() as session:
        return _person_of(session, request)


def _person_of(session: Session, request: Request) -> Person | None:
    person: Person | None = None
    if secret := _bearer(request):
        person, token_id = tokens.person_of_secret(session, secret, method=request.method)
        if not getattr(request.state, "is_counted", False):  # who sends much is asked for twice: see body_limit
            request.state.is_counted = True
            count_request(token_id.hex)
    elif token := request.cookies.get(cookie_name()):
        found = sessions.signed_in_as(session, token)
        if found is not None:
            person, request.state.sign_in_id = found.person, found.sign_in_id
            if found.last_seen_at < now() - sessions.SEEN_EVERY:
                _see(session, found.sign_in_id)
    request.state.person = person
    return person


def _see(session: Session, sign_in_id: uuid.UUID) -> None:
    """Note that the sign-in is in use; who only reads goes on where nothing can be written."""
    if not isinstance(session, OnlyReading):
        sessions.see(session, sign_in_id)
        return
    try:
        with writing() as writer:
            sessions.see(writer, sign_in_id)
    except DBAPIError as error:
        logger.warning("a sign-in's use was not noted: %s", error)


def own_sign_in(request: Request) -> uuid.UUID | None:
    """The sign-in that this request comes with; none for a token's."""
    return getattr(request.state, "sign_in_id", None)


def _bearer(request: Request) -> str:
    """The secret of an API token, where a request shows one."""
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() if kind.lower() == "bearer" else ""


async def current_person(person: Annotated[Person | None, Depends(optional_person)]) -> Person:
    if person is None:
        raise _sign_in_needed()
    return person


def _sign_in_needed() -> SignInNeeded:
    return SignInNeeded("You are not signed in, or your sign-in has run out.")


def person_asking(session: Session, request: Request) -> Person:
    """Who is signed in, for routes that pages call with every item: they ask in their own thread and session. As a
    dependency it would take another of each, which costs as much as three statements."""
    person = _person_of(session, request)
    if person is None:
        raise _sign_in_needed()
    return person


async def in_browser(request: Request, person: Annotated[Person, Depends(current_person)]) -> Person:
    """Who is signed in, and not by an API token: a script that has one must not be able to take an account over."""
    if own_sign_in(request) is None:
        raise Forbidden("A token can't do this.", mend="Sign in with a browser.")
    return person


def require(*roles: Role) -> Callable[[Person], Awaitable[Person]]:
    """A dependency that lets only these roles in."""

    async def _allowed(person: Annotated[Person, Depends(current_person)]) -> Person:
        if person.role not in roles:
            raise Forbidden(f"This page is for {' and '.join(f'{role}s' for role in roles)}.")
        return person

    _roles[_allowed] = roles
    return _allowed


_roles: dict[Callable[..., Any], tuple[Role, ...]] = {}


def allowed_roles(dependency: Callable[..., Any] | None) -> tuple[Role, ...]:
    """The roles that a dependency of `require` lets in; none of any other."""
    return _roles.get(dependency, ()) if dependency else ()


async def _admin_in_browser(
    person: Annotated[Person, Depends(require(Role.admin))], _: Annotated[Person, Depends(in_browser)]
) -> Person:
    return person


OptionalPerson = Annotated[Person | None, Depends(optional_person)]
SignedIn = Annotated[Person, Depends(current_person)]
InBrowser = Annotated[Person, Depends(in_browser)]  # and not by a token
Admin = Annotated[Person, Depends(require(Role.admin))]
AdminInBrowser = Annotated[Person, Depends(_admin_in_browser)]  # for what opens accounts or ends them
Researcher = Annotated[Person, Depends(require(Role.researcher, Role.admin))]  # reads and exports; admins may too
