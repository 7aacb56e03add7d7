"""The second step of signing in: a code, or setting up what codes come from where that is required."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from app.accounts import entrance, second_factor
from app.accounts.access import ANYONE
from app.accounts.cookies import (
    HALF_WAY_COOKIE,
    computer_of,
    forget_short_cookie,
    led_on,
    local_path,
    set_session_cookie,
    short_cookie,
)
from app.accounts.entrance import Inside
from app.accounts.models import Person
from app.accounts.sign_in_form import sign_in_form
from app.core.db import reading, writing
from app.core.errors import DomainError, SignInNeeded
from app.core.pages import render

router = APIRouter(prefix="/sign-in/second-step")


def _half_way(request: Request) -> tuple[Person, str, bool]:
    """Who it is, where they want to go, and whether they have a second factor."""
    with reading() as session:
        person, then = entrance.person_half_way(session, short_cookie(request, HALF_WAY_COOKIE))
        return person, then, second_factor.is_on(session, person)


def _page(request: Request, person: Person, is_on: bool, error: DomainError | None = None) -> Response:
    status = error.status if error else 200
    if is_on:
        return render(request, "accounts/second_step.html", status=status, error=error)
    with writing() as session:
        shown = second_factor.begin(session, person)
    return render(request, "accounts/second_step_set_up.html", status=status, shown=shown, half_way=person, error=error)


@router.get("", dependencies=[ANYONE])
def second_step_page(request: Request) -> Response:
    try:
        person, _, is_on = _half_way(request)
    except SignInNeeded:
        return RedirectResponse("/sign-in", 303)
    return _page(request, person, is_on)


@router.post("", dependencies=[ANYONE])
def take_second_step(request: Request, code: Annotated[str, Form()] = "") -> Response:
    try:
        person, then, is_on = _half_way(request)
    except SignInNeeded as error:
        return sign_in_form(request, "/", error=error)
    try:
        if is_on:
            response = led_on(Inside(entrance.by_code(person, code, computer_of(request))), then)
        else:
            token, codes = entrance.by_first_code(person, code, computer_of(request))
            response = render(request, "accounts/recovery_codes.html", codes=codes, then=local_path(then))
            set_session_cookie(response, token)
    except DomainError as error:
        return _page(request, person, is_on, error)
    forget_short_cookie(response, HALF_WAY_COOKIE)
    return response
