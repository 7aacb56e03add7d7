"""A model's downloads: its folder, and its card."""

import uuid

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.accounts.deps import Researcher
from app.core.db import reading
from app.core.storage import get_artefacts
from app.datasets.downloads import answer
from app.projects.deps import CurrentProject
from app.projects.models import Project
from app.registry.models import Model
from app.runs import lineage
from app.runs.model_card import card_of
from app.runs.model_folder import model_tar

router = APIRouter(prefix="/p/{slug}/models/{model_id}")


@router.get("/model.tar")
@router.head("/model.tar", include_in_schema=False)
def download_model(request: Request, _: Researcher, project: CurrentProject, model_id: uuid.UUID) -> Response:
    """An ordinary Hugging Face folder with the model's card, packed."""
    model, card = _model_and_card(project, model_id)
    return answer(request, model_tar(get_artefacts(), model, card))


@router.get("/card.md")
def download_card(_: Researcher, project: CurrentProject, model_id: uuid.UUID) -> Response:
    model, card = _model_and_card(project, model_id)
    name = {"Content-Disposition": f'attachment; filename="{model.name}.card.md"'}
    return Response(card, media_type="text/markdown; charset=utf-8", headers=name)


def _model_and_card(project: Project, model_id: uuid.UUID) -> tuple[Model, str]:
    """In a session that is over before the first byte is sent: a slow download holds no connection."""
    with reading() as session:
        family = lineage.family(session, project, model_id)
        return family.model, card_of(family)
