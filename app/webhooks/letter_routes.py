"""The page on which a project's admins choose what e-mail tells them."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from app.accounts.deps import Admin
from app.core import mail
from app.core.deps import ReadSession, WriteSession
from app.core.pages import render
from app.projects.deps import CurrentProject
from app.webhooks import letters
from app.webhooks.models import LetterKind

router = APIRouter(prefix="/p/{slug}/mail")
WORDS = {LetterKind.run_failed: "a run fails", LetterKind.batch_stopped: "a labeler pulls the stop cord"}


@router.get("")
def mail_page(
    request: Request, session: ReadSession, admin: Admin, project: CurrentProject, stored: bool = False
) -> Response:
    wishes = letters.wishes_of(session, project)
    mine = next((kinds for person, kinds in wishes if person.id == admin.id), [])
    return render(
        request, "webhooks/mail.html", is_on=mail.is_on(), wishes=wishes, mine=mine, words=WORDS, stored=stored,
        letters=letters.letters_of(session, project),
    )  # fmt: skip


@router.post("")
def choose_letters(
    session: WriteSession,
    admin: Admin,
    project: CurrentProject,
    kinds: Annotated[list[str] | None, Form()] = None,
) -> Response:
    letters.wish(session, project, admin, kinds or [])
    return RedirectResponse(f"/p/{project.slug}/mail?stored=1", 303)


@router.post("/try")
def try_mail(session: WriteSession, admin: Admin, project: CurrentProject) -> Response:
    letters.try_it(session, project, admin)
    return RedirectResponse(f"/p/{project.slug}/mail", 303)
