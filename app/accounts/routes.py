"""Sign-in, one-time links, and one's own page. Everyone's pages are in the people room."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from app.accounts import service, sign_in_limits
from app.accounts.access import ANYONE
from app.accounts.deps import OptionalPerson, SignedIn, cookie_name
from app.accounts.service import WrongPassword
from app.core.config import get_settings
from app.core.db import reading, writing
from app.core.deps import ReadSession, WriteSession
from app.core.errors import DomainError
from app.core.pages import render

router = APIRouter()


def _with_cookie(token: str, target: str) -> Response:
    response = RedirectResponse(target, 303)
    set_session_cookie(response, token)
    return response


def set_session_cookie(response: Response, token: str) -> None:
    settings = get_settings()
    response.set_cookie(
        cookie_name(),
        token,
        max_age=settings.session_days * 86400,
        httponly=True,
        samesite="lax",
        secure=settings.is_over_tls,
    )


def local_path(target: str) -> str:
    """`target` if it is a path on this site, else the front page: no one is sent elsewhere after signing in."""
    is_local = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if is_local else "/"


@router.get("/sign-in", dependencies=[ANYONE])
def sign_in_page(request: Request, person: OptionalPerson, then: str = "/") -> Response:
    if person is not None:
        return RedirectResponse(local_path(then), 303)
    return render(request, "accounts/sign_in.html", then=local_path(then), email="", error=None)


def start_session(request: Request, email: str, password: str) -> str:
    """A new session's token. Who guessed too often is told to wait, whatever the password."""
    address = request.client.host if request.client else ""
    with reading() as session:  # to check a password takes long, and others wait for their turn to write
        sign_in_limits.refuse_too_many(session, email, address)
        try:
            person = service.person_by_password(session, email, password)
        except WrongPassword:
            with writing() as counting:
                sign_in_limits.count_failure(counting, email, address)
            raise
    with writing() as session:
        sign_in_limits.forget_failures(session, email, address)
        return service.start_session(session, person)


@router.post("/sign-in", dependencies=[ANYONE])
def sign_in(
    request: Request,
    email: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    then: Annotated[str, Form()] = "/",
) -> Response:
    try:
        token = start_session(request, email, password)
    except DomainError as error:
        return render(
            request, "accounts/sign_in.html", status=error.status, then=local_path(then), email=email, error=error
        )
    return _with_cookie(token, local_path(then))


@router.post("/sign-out", dependencies=[ANYONE])
def sign_out(request: Request, session: WriteSession) -> Response:
    service.sign_out(session, request.cookies.get(cookie_name(), ""))
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(cookie_name(), httponly=True, samesite="lax", secure=get_settings().is_over_tls)
    return response


@router.get("/welcome/{token}", dependencies=[ANYONE])
def welcome_page(request: Request, session: ReadSession, token: str) -> Response:
    person = service.person_of_link(session, token)
    return render(request, "accounts/welcome.html", invited=person, error=None, least=service.MIN_PASSWORD)


@router.post("/welcome/{token}", dependencies=[ANYONE])
def welcome(request: Request, session: WriteSession, token: str, password: Annotated[str, Form()] = "") -> Response:
    person = service.person_of_link(session, token)
    try:
        return _with_cookie(service.use_link(session, token, password=password), "/")
    except DomainError as error:
        return render(
            request, "accounts/welcome.html", status=422, invited=person, error=error, least=service.MIN_PASSWORD
        )


@router.get("/me")
def own_page(request: Request, _: SignedIn) -> Response:
    return render(request, "accounts/me.html")
