"""The evaluations page."""

import uuid
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from app.accounts.deps import Researcher
from app.accounts.models import Group
from app.core.deps import ReadSession
from app.core.errors import NotFound
from app.core.pages import render
from app.evals import service
from app.labeling.models import BatchKind
from app.projects.deps import CurrentProject
from app.registry.models import ModelKind

router = APIRouter()


@router.get("/p/{slug}/evaluations")
def evaluations_page(
    request: Request,
    session: ReadSession,
    _: Researcher,
    project: CurrentProject,
    baseline: Annotated[uuid.UUID | Literal[""], Query()] = "",
    kind: Annotated[BatchKind, Query()] = BatchKind.evaluation,
    group: Annotated[Group | Literal[""], Query()] = "",
) -> Response:
    """Win rates against a chosen baseline: by default the first SFT model that was judged."""
    judgments = service.Judgments(kind=kind, group=group or None)
    models = service.judged_models(session, project, judgments=judgments)
    chosen = next((model for model in models if model.id == baseline), None)
    if baseline and chosen is None:
        raise NotFound("No counting ranking holds this model.", mend="Choose another baseline.")
    chosen = chosen or next((model for model in models if model.kind == ModelKind.sft), models[0] if models else None)
    rows = service.standings(session, project, chosen, judgments=judgments) if chosen else []
    flags = sorted({key for row in rows for key in row.flags})
    kinds = [BatchKind.evaluation, BatchKind.ranking]
    return render(
        request,
        "evals/evaluations.html",
        models=models,
        baseline=chosen,
        rows=rows,
        flags=flags,
        kind=kind,
        kinds=kinds,
        group=group,
        groups=list(Group),
    )
