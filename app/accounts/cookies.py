"""The cookies that signing in sets: of a session, and short ones of a way in that is under way."""

from datetime import timedelta

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from app.accounts.deps import cookie_name
from app.accounts.entrance import HALF_WAY_LASTS, HalfWay, Inside
from app.accounts.sessions import Computer
from app.core.config import get_settings

HALF_WAY_COOKIE = "touchstone_half_way"
WAY_IN = "/sign-in"


def computer_of(request: Request) -> Computer:
    return Computer(request.client.host if request.client else "", request.headers.get("user-agent", ""))


def local_path(target: str) -> str:
    """`target` if it is a path on this site, else the front page: no one is sent elsewhere after signing in."""
    is_local = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if is_local else "/"


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


def set_short_cookie(response: Response, name: str, value: str, lasts: timedelta) -> None:
    response.set_cookie(
        cookie_name(name),
        value,
        max_age=int(lasts.total_seconds()),
        path=_short_path(),
        httponly=True,
        samesite="lax",
        secure=get_settings().is_over_tls,
    )


def _short_path() -> str:
    """No more than what reads them; a name that only this host can set has to be sent everywhere."""
    settings = get_settings()
    return "/" if settings.is_over_tls else settings.base_path + WAY_IN


def short_cookie(request: Request, name: str) -> str:
    return request.cookies.get(cookie_name(name), "")


def forget_short_cookie(response: Response, name: str) -> None:
    response.delete_cookie(
        cookie_name(name), path=_short_path(), httponly=True, samesite="lax", secure=get_settings().is_over_tls
    )


def led_on(way: Inside | HalfWay, then: str) -> Response:
    """To where they wanted to go, or to the second step."""
    if isinstance(way, Inside):
        response = RedirectResponse(local_path(then), 303)
        set_session_cookie(response, way.token)
        return response
    response = RedirectResponse(f"{WAY_IN}/second-step", 303)
    set_short_cookie(response, HALF_WAY_COOKIE, way.note, HALF_WAY_LASTS)
    return response
