"""A model's page, with all it came from and all that came of it: runs know that, so the page is theirs."""

import uuid

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from app.accounts.deps import Admin, Researcher
from app.core.db import writing
from app.core.deps import ReadSession
from app.core.pages import render
from app.core.storage import get_artefacts
from app.projects.deps import CurrentProject
from app.registry import service as registry
from app.runs import lineage
from app.runs.deletion import delete_model, what_goes

router = APIRouter(prefix="/p/{slug}/models/{model_id}")


@router.get("")
def model_page(
    request: Request, session: ReadSession, _: Researcher, project: CurrentProject, model_id: uuid.UUID
) -> Response:
    return render(
        request,
        "registry/model.html",
        family=lineage.family(session, project, model_id),
        labels_in_words=lineage.labels_in_words,
    )


@router.get("/delete")
def delete_page(
    request: Request, session: ReadSession, _: Admin, project: CurrentProject, model_id: uuid.UUID
) -> Response:
    model = registry.model_of_project(session, project, model_id)
    return render(request, "registry/delete.html", model=model, goes=what_goes(session, project, model))


@router.post("/delete")
def delete(admin: Admin, project: CurrentProject, model_id: uuid.UUID) -> Response:
    with writing() as session:
        unneeded = delete_model(session, project, registry.model_of_project(session, project, model_id), by=admin)
    if unneeded:  # after the commit: a row without its files would be a ready model that can't be read
        get_artefacts().remove(unneeded)
    return RedirectResponse(f"/p/{project.slug}/models/{model_id}", 303)
