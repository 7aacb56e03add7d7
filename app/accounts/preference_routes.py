"""The page on which people say what they do not want to see."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from app.accounts.deps import SignedIn
from app.accounts.preferences import CONTENT_IN_WORDS, Content, Preferences, preferences_of, set_preferences
from app.core.deps import WriteSession
from app.core.pages import render

router = APIRouter()


@router.get("/me/preferences")
def preferences_page(request: Request, person: SignedIn, stored: bool = False) -> Response:
    avoided = preferences_of(person).avoided
    return render(request, "accounts/preferences.html", avoided=avoided, contents=CONTENT_IN_WORDS, stored=stored)


@router.post("/me/preferences")
def change_preferences(
    session: WriteSession, person: SignedIn, avoided: Annotated[list[Content] | None, Form()] = None
) -> Response:
    set_preferences(session, person, Preferences(avoided=frozenset(avoided or ())))
    return RedirectResponse("/me/preferences?stored=1", 303)
