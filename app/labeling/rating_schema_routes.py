"""The rating schema: what labelers rate, each version with what it changed, and writing a new one with a preview."""

from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from app.accounts.deps import Admin, Researcher
from app.core.deps import Number, ReadSession, SentForm, WriteSession
from app.core.errors import Conflict, DomainError, Invalid
from app.core.pages import render
from app.labeling import rating_schemas
from app.labeling.questions import LIMITED_TO, NOTES
from app.labeling.rating_schema_changes import changes
from app.labeling.rating_schema_use import batches_under, use_by_version
from app.labeling.rating_schemas import Rows
from app.projects import service
from app.projects.deps import CurrentProject
from app.projects.models import Project

router = APIRouter(prefix="/p/{slug}/rating-schemas")


@router.get("")
def versions_page(request: Request, session: ReadSession, _: Researcher, project: CurrentProject) -> Response:
    versions = service.schema_versions(session, project)
    before = dict(zip((each.id for each in versions), versions[1:], strict=False))
    changed = {each.id: len(changes(before[each.id].fields, each.fields)) for each in versions if each.id in before}
    uses = use_by_version(session, project)
    return render(request, "labeling/rating_schemas.html", versions=versions, changed=changed, uses=uses)


@router.get("/new")
def new_version_page(
    request: Request,
    session: ReadSession,
    _: Admin,
    project: CurrentProject,
    start: Number | None = None,
    ready: Literal["paper", "toxicity"] | None = None,
) -> Response:
    """The form, filled in with version `start`, or with what is `ready`, else with the newest, else with the paper's
    fields."""
    newest = service.newest_rating_schema(session, project)
    begun = service.version_of_rating_schema(session, project, start) if start is not None else newest
    _words, fields = rating_schemas.READY[ready or "paper"]
    rows = rating_schemas.rows_of(begun.fields if begun and not ready else fields())
    return _form_page(request, session, project, rows, based_on=newest.version if newest else 0)


def _form_page(
    request: Request,
    session: Session,
    project: Project,
    rows: Rows,
    *,
    based_on: Number,
    error: DomainError | None = None,
    touched: tuple[str, str, int] | None = None,
) -> Response:
    newest = service.newest_rating_schema(session, project)
    return render(
        request,
        "labeling/new_rating_schema.html",
        status=error.status if error else 200,
        rows=rows,
        seen=rating_schemas.as_seen(rows),
        ready=rating_schemas.READY,
        known=rating_schemas.known_keys(session, project),
        newest=newest,
        meanwhile=newest if isinstance(error, Conflict) else None,
        changed=changes(newest.fields, rating_schemas.as_written(rows)) if newest else [],
        based_on=newest.version if newest and isinstance(error, Conflict) else based_on,
        most=rating_schemas.MOST,
        use_cases=LIMITED_TO,
        notes=NOTES,
        error=error,
        touched=touched,
    )


def _sent(form: Any) -> tuple[Rows, int]:
    based_on = str(form.get("based_on", ""))
    return rating_schemas.typed_rows(form), int(based_on) if based_on.isdecimal() and len(based_on) < 9 else -1


@router.post("/edit")
def edit(request: Request, session: ReadSession, _: Admin, project: CurrentProject, form: SentForm) -> Response:
    """The form after one of its buttons, and the preview beside it. Nothing is stored."""
    rows, based_on = _sent(form)
    touched = rating_schemas.press(rows, str(form.get("press", "")))
    return _form_page(request, session, project, rows, based_on=based_on, touched=touched)


@router.post("")
def publish(request: Request, session: WriteSession, admin: Admin, project: CurrentProject, form: SentForm) -> Response:
    rows, based_on = _sent(form)
    try:
        fields = rating_schemas.checked_fields(rows, rating_schemas.known_keys(session, project))
        newest = service.newest_rating_schema(session, project)
        if newest and newest.version == based_on and not changes(newest.fields, fields):
            raise Invalid(f"This is version {newest.version} as it stands.", mend="Change something first.")
        published = service.publish_rating_schema(session, project, fields, by=admin, based_on=based_on)
    except DomainError as error:
        return _form_page(request, session, project, rows, based_on=based_on, error=error)
    return RedirectResponse(f"/p/{project.slug}/rating-schemas/{published.version}", 303)


@router.get("/{version}")
def version_page(
    request: Request,
    session: ReadSession,
    _: Researcher,
    project: CurrentProject,
    version: Number,
    against: Number | None = None,
) -> Response:
    """One version as it stands, what it changes against another (the one before), and what goes by it."""
    schema = service.version_of_rating_schema(session, project, version)
    versions = service.schema_versions(session, project)
    other = against if against is not None else version - 1 if version > 1 else None
    before = service.version_of_rating_schema(session, project, other) if other else None
    return render(
        request,
        "labeling/rating_schema.html",
        schema=schema,
        versions=versions,
        before=before,
        changed=changes(before.fields, schema.fields) if before else [],
        batches=batches_under(session, schema),
    )
