"""The page on which people turn their second factor on and off."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from app.accounts import second_factor, service, sessions
from app.accounts.cookies import computer_of
from app.accounts.deps import InBrowser, own_sign_in
from app.accounts.entrance import counting_codes
from app.accounts.models import Person
from app.core.db import reading, writing
from app.core.errors import DomainError
from app.core.pages import render

router = APIRouter(prefix="/me/second-factor")


def _page(request: Request, person: Person, error: DomainError | None = None) -> Response:
    """Setting it up, or what there is to do while it is on."""
    status = error.status if error else 200
    with writing() as session:
        if not second_factor.is_on(session, person):
            shown = second_factor.begin(session, person)
            return render(request, "accounts/second_factor_set_up.html", status=status, shown=shown, error=error)
        left = second_factor.recovery_codes_left(session, person)
    is_required = second_factor.is_required(person)
    return render(
        request, "accounts/second_factor.html", status=status, left=left, error=error, is_required=is_required
    )


@router.get("")
def second_factor_page(request: Request, person: InBrowser) -> Response:
    return _page(request, person)


@router.post("")
def turn_on(request: Request, person: InBrowser, code: Annotated[str, Form()] = "") -> Response:
    """The answer to this request alone shows the recovery codes. Other sign-ins end: they were made without a code."""
    try:
        with counting_codes(person, computer_of(request)), writing() as session:
            codes = second_factor.confirm(session, person, code)
            sessions.end_sessions(session, person, besides=own_sign_in(request))
            sessions.took_second_step(session, own_sign_in(request))
    except DomainError as error:
        return _page(request, person, error)
    return render(request, "accounts/recovery_codes.html", codes=codes, then="/me")


@router.post("/recovery-codes")
def renew_recovery_codes(request: Request, person: InBrowser, code: Annotated[str, Form()] = "") -> Response:
    try:
        with counting_codes(person, computer_of(request)), writing() as session:
            codes = second_factor.renew_recovery_codes(session, person, code)
    except DomainError as error:
        return _page(request, person, error)
    return render(request, "accounts/recovery_codes.html", codes=codes, then="/me/second-factor")


@router.post("/off")
def turn_off(
    request: Request, person: InBrowser, password: Annotated[str, Form()] = "", code: Annotated[str, Form()] = ""
) -> Response:
    try:
        with counting_codes(person, computer_of(request)):
            with reading() as session:
                service.check_own_password(session, person, password)
            with writing() as session:
                second_factor.turn_off(session, person, code)
    except DomainError as error:
        return _page(request, person, error)
    return RedirectResponse("/me", 303)
