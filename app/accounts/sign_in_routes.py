"""The page on which people see where they are signed in, and end it."""

import uuid

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from app.accounts import sessions
from app.accounts.deps import InBrowser, own_sign_in
from app.core.config import get_settings
from app.core.deps import ReadSession, WriteSession
from app.core.pages import render

router = APIRouter(prefix="/me/sign-ins")


@router.get("")
def sign_in_list(request: Request, session: ReadSession, person: InBrowser) -> Response:
    return render(
        request,
        "accounts/sign_ins.html",
        sign_ins=sessions.sign_ins_of(session, person),
        own=own_sign_in(request),
        in_words=sessions.in_words,
        settings=get_settings(),
    )


@router.post("/end-others")
def end_others(request: Request, session: WriteSession, person: InBrowser) -> Response:
    sessions.end_others(session, person, by=person, besides=own_sign_in(request))
    return RedirectResponse("/me/sign-ins", 303)


@router.post("/{sign_in_id}/end")
def end_sign_in(session: WriteSession, person: InBrowser, sign_in_id: uuid.UUID) -> Response:
    """Whoever ends their own is asked to sign in by the page that follows."""
    sessions.end_sign_in(session, person, sign_in_id)
    return RedirectResponse("/me/sign-ins", 303)
