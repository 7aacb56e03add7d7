"""Sign-in, one-time links, and one's own page. Everyone's pages are in the people room."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from app.accounts import entrance, service, sessions
from app.accounts.access import ANYONE
from app.accounts.cookies import computer_of, led_on, local_path
from app.accounts.deps import OptionalPerson, SignedIn, cookie_name
from app.accounts.sign_in_form import sign_in_form
from app.core.config import get_settings
from app.core.db import reading, writing
from app.core.deps import ReadSession, WriteSession
from app.core.errors import DomainError, Invalid
from app.core.pages import render

router = APIRouter()


@router.get("/sign-in", dependencies=[ANYONE])
def sign_in_page(request: Request, person: OptionalPerson, then: str = "/") -> Response:
    if person is not None:
        return RedirectResponse(local_path(then), 303)
    return sign_in_form(request, then)


@router.post("/sign-in", dependencies=[ANYONE])
def sign_in(
    request: Request,
    email: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    then: Annotated[str, Form()] = "/",
) -> Response:
    try:
        way = entrance.by_password(email, password, computer_of(request), then=local_path(then))
    except DomainError as error:
        return sign_in_form(request, then, email=email, error=error)
    return led_on(way, then)


@router.post("/sign-out", dependencies=[ANYONE])
def sign_out(request: Request, session: WriteSession) -> Response:
    sessions.sign_out(session, request.cookies.get(cookie_name(), ""))
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(cookie_name(), httponly=True, samesite="lax", secure=get_settings().is_over_tls)
    return response


@router.get("/welcome/{token}", dependencies=[ANYONE])
def welcome_page(request: Request, session: ReadSession, token: str) -> Response:
    person = service.person_of_link(session, token)
    entrance.refuse_password(person)
    return render(request, "accounts/welcome.html", invited=person, error=None, least=service.MIN_PASSWORD)


@router.post("/welcome/{token}", dependencies=[ANYONE])
def welcome(request: Request, token: str, password: Annotated[str, Form()] = "") -> Response:
    with reading() as session:
        invited = service.person_of_link(session, token)
    entrance.refuse_password(invited)
    try:
        with writing() as session:
            person = service.use_link(session, token, password=password)
    except Invalid as error:
        return render(
            request, "accounts/welcome.html", status=422, invited=invited, error=error, least=service.MIN_PASSWORD
        )
    return led_on(entrance.proven(person, computer_of(request)), "/")


@router.get("/me")
def own_page(request: Request, _: SignedIn) -> Response:
    return render(request, "accounts/me.html")
