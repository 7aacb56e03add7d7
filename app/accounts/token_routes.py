"""The page on which people make and revoke their API tokens: none by another, or one that leaked would last."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from app.accounts import tokens
from app.accounts.deps import InBrowser
from app.accounts.models import Person
from app.accounts.tokens import SCOPES_IN_WORDS, Scope
from app.core.clock import now
from app.core.db import reading, writing
from app.core.deps import Number, ReadSession, WriteSession
from app.core.errors import DomainError
from app.core.pages import render

router = APIRouter(prefix="/me/tokens")


def _page(
    request: Request, session: Session, person: Person, *, error: DomainError | None = None, **values: object
) -> Response:
    blank: dict[str, object] = {"secret": "", "typed": {"name": "", "scope": Scope.read, "days": 90}}
    return render(
        request, "accounts/tokens.html", status=error.status if error else 200, error=error,
        tokens=tokens.tokens_of(session, person), scopes=SCOPES_IN_WORDS, now=now(), **{**blank, **values},
    )  # fmt: skip


@router.get("")
def token_page(request: Request, session: ReadSession, person: InBrowser) -> Response:
    return _page(request, session, person)


@router.post("")
def create(
    request: Request,
    person: InBrowser,
    name: Annotated[str, Form()] = "",
    scope: Annotated[Scope, Form()] = Scope.read,
    days: Annotated[Number, Form()] = 90,
) -> Response:
    """The answer to this request alone shows the secret."""
    shown: dict[str, Any]
    try:
        with writing() as session:
            shown = {"secret": tokens.create_token(session, person, name=name, scope=scope, days=days)}
    except DomainError as error:
        shown = {"error": error, "typed": {"name": name, "scope": scope, "days": days}}
    with reading() as session:
        return _page(request, session, person, **shown)


@router.post("/{token_id}/revoke")
def revoke(session: WriteSession, person: InBrowser, token_id: uuid.UUID) -> Response:
    tokens.revoke_token(session, person, token_id)
    return RedirectResponse("/me/tokens", 303)
