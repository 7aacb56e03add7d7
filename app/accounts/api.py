"""Who is asking, as JSON, and signing in without leaving a page."""

import uuid

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.accounts import entrance, second_factor, sessions
from app.accounts.access import ANYONE
from app.accounts.cookies import computer_of, set_session_cookie
from app.accounts.deps import SignedIn
from app.accounts.entrance import HalfWay, SecondStepNeeded
from app.accounts.models import Person, Role
from app.accounts.sessions import Computer
from app.core.db import reading
from app.core.errors import Forbidden

router = APIRouter(prefix="/api/v1")


class Credentials(BaseModel):
    model_config = ConfigDict(extra="forbid")

    email: str
    password: str
    code: str = Field("", description="Of the authenticator app, or a recovery code, where the person has those.")


class SignedInRead(BaseModel):
    id: uuid.UUID
    name: str


class MeRead(SignedInRead):
    model_config = ConfigDict(from_attributes=True)

    role: Role


@router.get("/me", response_model=MeRead)
def who_am_i(person: SignedIn) -> Person:
    """Whose token or session this is."""
    return person


@router.post("/sign-in", dependencies=[ANYONE])
def sign_in_in_place(request: Request, response: Response, body: Credentials) -> SignedInRead:
    """Sign in without leaving the page on which one's work stands."""
    computer = computer_of(request)
    way = entrance.by_password(body.email, body.password, computer)
    token = _after_the_code(way, body.code, computer) if isinstance(way, HalfWay) else way.token
    set_session_cookie(response, token)
    with reading() as session:
        person = sessions.person_of_token(session, token)
    assert person is not None, "who has just signed in is signed in"
    return SignedInRead(id=person.id, name=person.name)


def _after_the_code(way: HalfWay, code: str, computer: Computer) -> str:
    with reading() as session:
        person, _ = entrance.person_half_way(session, way.note)
        if not second_factor.is_on(session, person):
            raise Forbidden("You need a second factor first.", mend="Sign in at /sign-in to set it up.")
    if not code.strip():
        said = "Type the code that your authenticator app shows, or a recovery code."
        raise SecondStepNeeded("Your second step is missing.", mend=said, fields={"code": said})
    return entrance.by_code(person, code, computer)
