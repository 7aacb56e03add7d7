"""To the provider of single sign-on and back."""

import json
import secrets
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from app.accounts import entrance, provider
from app.accounts.access import ANYONE
from app.accounts.cookies import computer_of, forget_short_cookie, led_on, local_path, set_short_cookie, short_cookie
from app.accounts.provider import Journey
from app.accounts.sign_in_form import sign_in_form
from app.accounts.single_sign_on import person_of_claims
from app.core.config import get_settings
from app.core.db import writing
from app.core.errors import DomainError, Forbidden, NotFound
from app.core.sealing import Unreadable, seal, unseal

router = APIRouter(prefix="/sign-in/sso")
COOKIE, PURPOSE, LASTS = "touchstone_single_sign_on", "single sign-on", timedelta(minutes=10)
AT_ONCE = 4  # threads of their own, so that a provider that is slow holds up nobody's pages


async def _aside(request: Request, work: Callable[[], Response]) -> Response:
    state = request.app.state
    if not hasattr(state, "single_sign_on"):
        state.single_sign_on = CapacityLimiter(AT_ONCE)
    return await run_sync(work, limiter=state.single_sign_on)


@router.get("", dependencies=[ANYONE])
async def to_the_provider(request: Request, then: str = "/") -> Response:
    return await _aside(request, lambda: _leave(request, then))


def _leave(request: Request, then: str) -> Response:
    if not get_settings().oidc_issuer:
        raise NotFound("There is no single sign-on here.", mend="Sign in with your password.")
    try:
        address, journey = provider.begin()
    except DomainError as error:
        return sign_in_form(request, then, error=error)
    response = RedirectResponse(address, 303)
    set_short_cookie(response, COOKIE, seal(json.dumps({**asdict(journey), "then": local_path(then)}), PURPOSE), LASTS)
    return response


@router.get("/callback", dependencies=[ANYONE])
async def from_the_provider(
    request: Request, state: str = "", code: str = "", error: str = "", error_description: str = "", iss: str = ""
) -> Response:
    def _arrive() -> Response:
        then = "/"
        try:
            journey, then = _journey(request, state)
            _check_answer(code, error, error_description, iss)
            response = _let_in(request, code, journey, then)
        except DomainError as problem:
            response = sign_in_form(request, then, error=problem)
        forget_short_cookie(response, COOKIE)
        return response

    return await _aside(request, _arrive)


def _journey(request: Request, state: str) -> tuple[Journey, str]:
    """What this very browser left with."""
    strange = Forbidden(
        "This sign-in was not begun in this browser, or took too long.", mend="Begin it again on this page."
    )
    try:
        kept = json.loads(unseal(short_cookie(request, COOKIE), PURPOSE, within=LASTS))
    except Unreadable:
        raise strange from None
    then = str(kept.pop("then"))
    journey = Journey(**kept)
    if not secrets.compare_digest(journey.state.encode(), state.encode()):
        raise strange
    return journey, then


def _check_answer(code: str, error: str, description: str, issuer: str) -> None:
    settings = get_settings()
    if issuer and issuer != settings.oidc_issuer:  # RFC 9207: the answer of another provider
        raise Forbidden("This answer is of another provider.", mend="Begin again on this page.")
    if error or not code:
        said = f": {description[:200]}" if description else ""
        raise Forbidden(f"{settings.oidc_name} did not let you in{said}", mend="Try again, or ask who runs it.")


def _let_in(request: Request, code: str, journey: Journey, then: str) -> Response:
    claims = provider.claims_for(code, journey)
    with writing() as session:
        person = person_of_claims(session, claims)
    way = entrance.proven(person, computer_of(request), then=then, by_provider=True)
    return led_on(way, then)
