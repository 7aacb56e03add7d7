"""The evaluations page."""

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
    baseline: Annotated[str, Query()] = "",
    kind: Annotated[BatchKind, Query()] = BatchKind.evaluation,
    group: Annotated[Group | Literal[""], Query()] = "",
) -> Response:
    """Win rates against a chosen baseline: by default the first SFT model that was judged."""
    judgments = service.Judgments(kind=kind, group=group or None)
    judged = service.judged_contestants(session, project, judgments=judgments)
    chosen = next((each for each in judged if str(each.contestant) == baseline), None)
    if baseline and chosen is None:
        raise NotFound("No counting ranking holds this model.", mend="Choose another baseline.")
    sft = (each for each in judged if each.model.kind == ModelKind.sft)
    chosen = chosen or next(sft, judged[0] if judged else None)
    rows = service.standings(session, project, chosen.contestant, judgments=judgments) if chosen else []
    flags = sorted({key for row in rows for key in row.flags})
    kinds = [BatchKind.evaluation, BatchKind.ranking]
    return render(
        request,
        "evals/evaluations.html",
        judged=judged,
        baseline=chosen,
        rows=rows,
        flags=flags,
        kind=kind,
        kinds=kinds,
        group=group,
        groups=list(Group),
    )
