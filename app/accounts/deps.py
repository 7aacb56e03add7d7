"""Who is asking: dependencies that every route states."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request

from app.accounts import service, tokens
from app.accounts.models import Person, Role
from app.core.db import reading
from app.core.errors import Forbidden, SignInNeeded

COOKIE = "touchstone_session"


def optional_person(request: Request) -> Person | None:
    """The person whose session cookie this is, if any. Pages find them as `person`."""
    if secret := _bearer(request):
        return _person_of_bearer(request, secret)
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    with reading() as session:
        person = service.person_of_token(session, token)
    request.state.person = person
    return person


def _bearer(request: Request) -> str:
    """The secret of an API token, where a request shows one."""
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() if kind.lower() == "bearer" else ""


def _person_of_bearer(request: Request, secret: str) -> Person:
    with reading() as session:
        person = tokens.person_of_secret(session, secret, method=request.method)
    request.state.person = person
    return person


async def current_person(person: Annotated[Person | None, Depends(optional_person)]) -> Person:
    if person is None:
        raise SignInNeeded("You are not signed in, or your sign-in has run out.")
    return person


def require(*roles: Role) -> Callable[[Person], Awaitable[Person]]:
    """A dependency that lets only these roles in."""

    async def _allowed(person: Annotated[Person, Depends(current_person)]) -> Person:
        if person.role not in roles:
            raise Forbidden(f"This page is for {' and '.join(f'{role}s' for role in roles)}.")
        return person

    return _allowed


OptionalPerson = Annotated[Person | None, Depends(optional_person)]
SignedIn = Annotated[Person, Depends(current_person)]
Admin = Annotated[Person, Depends(require(Role.admin))]
Researcher = Annotated[Person, Depends(require(Role.researcher, Role.admin))]  # reads and exports; admins may too
