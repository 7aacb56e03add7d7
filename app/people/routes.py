"""Everyone's pages for admins: inviting, roles and groups, hours, a person's data and its erasure."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse
from sqlalchemy.orm import Session

from app.accounts import audit, entrance, second_factor, sessions, single_sign_on
from app.accounts import service as accounts
from app.accounts.deps import Admin, AdminInBrowser, SignedIn
from app.accounts.models import Group, Person, PersonState, Role
from app.core.config import get_settings
from app.core.deps import ReadSession, SentForm, WriteSession
from app.core.errors import DomainError, Forbidden, Invalid
from app.core.pages import render
from app.people import activity, overview
from app.people.erasure import erase
from app.people.export import export_json
from app.projects import service as projects

router = APIRouter()


@router.get("/people")
def people_page(request: Request, session: ReadSession, admin: Admin) -> Response:
    return _people_page(request, session, admin)


def _people_page(request: Request, session: Session, admin: Person, *, status: int = 200, **values: Any) -> Response:
    return render(
        request,
        "people/list.html",
        status=status,
        people=accounts.people(session),
        known_to_provider=accounts.known_to_provider(session),
        projects=projects.visible_projects(session, admin),
        roles=list(Role),
        groups=list(Group),
        may_use_password=entrance.may_use_password,
        **{"link": None, "typed": {}, "error": None, **values},
    )


@router.post("/people")
def invite(request: Request, session: WriteSession, admin: AdminInBrowser, form: SentForm) -> Response:
    typed = {**dict(form), "projects": form.getlist("projects")}
    try:
        with session.begin_nested():
            person = overview.invite(session, typed, by=admin)
    except DomainError as error:
        return _people_page(request, session, admin, status=error.status, typed=typed, error=error)
    return _people_page(request, session, admin, link=_way_in(session, person), linked=person)


def _way_in(session: Session, person: Person) -> str:
    """A one-time link; the address alone for who signs in by the provider."""
    return _new_link(session, person) if entrance.may_use_password(person) else get_settings().address


def _new_link(session: Session, person: Person) -> str:
    return get_settings().address + accounts.new_sign_in_link(session, person)


@router.get("/people/hours.csv")
def everyones_hours(session: ReadSession, _: Admin, first: str = "", last: str = "") -> Response:
    """Labels and active hours of everyone, day by day, for pay."""
    span = activity.span_of(first, last)
    return _csv(activity.hours_csv(accounts.people(session), activity.work_by_day(session, span)), "everyone", span)


def _csv(content: str, name: str, span: activity.Span) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="hours-{name}-{span.first}-{span.last}.csv"'}
    return Response(content, media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/people/{person_id}")
def person_page(
    request: Request, session: ReadSession, _: Admin, person_id: uuid.UUID, first: str = "", last: str = ""
) -> Response:
    return _person_page(request, session, accounts.person_by_id(session, person_id), first=first, last=last)


def _person_page(
    request: Request,
    session: Session,
    about: Person,
    *,
    first: str = "",
    last: str = "",
    status: int = 200,
    error: DomainError | None = None,
    **values: Any,
) -> Response:
    try:
        span = activity.span_of(first, last)
    except Invalid as wrong:
        span, error, status = activity.span_of("", ""), wrong, 422
    return render(
        request,
        "people/person.html",
        status=status,
        about=overview.overview_of(session, about, span),
        error=error,
        roles=list(Role),
        groups=list(Group),
        may_use_password=entrance.may_use_password(about),
        settings=get_settings(),
        **{"link": None, "typed_name": "", **values},
    )


def _refuse_oneself(person: Person, admin: Person) -> None:
    """An admin's open screen must not be enough for a new password, or to be rid of the second factor."""
    if person.id == admin.id:
        raise Forbidden("Nobody does this for themselves.",
                        mend="Ask another admin, or do it at the machine (`touchstone user --help`).")  # fmt: skip


@router.post("/people/{person_id}/link")
def new_link(request: Request, session: WriteSession, admin: AdminInBrowser, person_id: uuid.UUID) -> Response:
    person = accounts.person_by_id(session, person_id)
    _refuse_oneself(person, admin)
    entrance.refuse_password(person)
    link = _new_link(session, person)
    audit.record(session, admin, "person.new_link", subject=person)
    return _person_page(request, session, person, link=link)


@router.post("/people/{person_id}/state")
def change_state(
    session: WriteSession, admin: AdminInBrowser, person_id: uuid.UUID, state: Annotated[PersonState, Form()]
) -> Response:
    accounts.set_state(session, accounts.person_by_id(session, person_id), state, by=admin)
    return RedirectResponse(f"/people/{person_id}", 303)


@router.post("/people/{person_id}/role")
def change_role(
    session: WriteSession, admin: AdminInBrowser, person_id: uuid.UUID, role: Annotated[Role, Form()]
) -> Response:
    accounts.set_role(session, accounts.person_by_id(session, person_id), role, by=admin)
    return RedirectResponse(f"/people/{person_id}", 303)


@router.post("/people/{person_id}/sign-out")
def sign_out_everywhere(session: WriteSession, admin: AdminInBrowser, person_id: uuid.UUID) -> Response:
    sessions.end_others(session, accounts.person_by_id(session, person_id), by=admin)
    return RedirectResponse(f"/people/{person_id}", 303)


@router.post("/people/{person_id}/second-factor/reset")
def reset_second_factor(session: WriteSession, admin: AdminInBrowser, person_id: uuid.UUID) -> Response:
    person = accounts.person_by_id(session, person_id)
    _refuse_oneself(person, admin)
    second_factor.reset(session, person, by=admin)
    sessions.end_sessions(session, person)
    return RedirectResponse(f"/people/{person_id}", 303)


@router.post("/people/{person_id}/unlink")
def unlink(session: WriteSession, admin: AdminInBrowser, person_id: uuid.UUID) -> Response:
    single_sign_on.unlink(session, accounts.person_by_id(session, person_id), by=admin)
    return RedirectResponse(f"/people/{person_id}", 303)


@router.post("/people/{person_id}/group")
def change_group(
    session: WriteSession, admin: Admin, person_id: uuid.UUID, group: Annotated[Group, Form()]
) -> Response:
    accounts.set_group(session, accounts.person_by_id(session, person_id), group, by=admin)
    return RedirectResponse(f"/people/{person_id}", 303)


@router.get("/people/{person_id}/hours.csv")
def hours(session: ReadSession, _: Admin, person_id: uuid.UUID, first: str = "", last: str = "") -> Response:
    person, span = accounts.person_by_id(session, person_id), activity.span_of(first, last)
    content = activity.hours_csv([person], activity.work_by_day(session, span, person))
    return _csv(content, str(person.id), span)


@router.get("/people/{person_id}/export.json")
def export(session: ReadSession, _: Admin, person_id: uuid.UUID) -> Response:
    return _export(accounts.person_by_id(session, person_id))


@router.get("/me/export.json")
def own_export(person: SignedIn) -> Response:
    return _export(person)


def _export(person: Person) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="touchstone-{person.id}.json"'}
    return StreamingResponse(export_json(person.id), media_type="application/json", headers=headers)


@router.post("/people/{person_id}/erase")
def erase_person(
    request: Request,
    session: WriteSession,
    admin: AdminInBrowser,
    person_id: uuid.UUID,
    name: Annotated[str, Form()] = "",
) -> Response:
    person = accounts.person_by_id(session, person_id)
    try:
        erase(session, person, typed_name=name, by=admin)
    except DomainError as error:
        return _person_page(request, session, person, status=error.status, error=error, typed_name=name)
    return RedirectResponse("/sign-in" if person.id == admin.id else f"/people/{person_id}", 303)
