"""The page of reward models beside people, and of policies on their way to over-optimisation."""

import uuid

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from app.accounts.deps import Researcher
from app.core.deps import ReadSession
from app.core.errors import NotFound
from app.core.pages import render
from app.evals import attachments, reward_models
from app.evals.figures import Figure, as_csv, figure_named
from app.evals.reward_models import Curve
from app.projects.deps import CurrentProject
from app.projects.models import Project
from app.registry import service as registry
from app.registry.models import ModelKind

router = APIRouter(prefix="/p/{slug}/evaluations/reward-models")


@router.get("")
def reward_models_page(request: Request, session: ReadSession, _: Researcher, project: CurrentProject) -> Response:
    """How often each reward model orders completions as people do, and reward over distance for each run of PPO."""
    return render(
        request,
        "evals/reward_models.html",
        beside=reward_models.beside_people(session, project),
        under_way=reward_models.under_way(session, project),
        unfinished=reward_models.unfinished(session, project),
        curves=reward_models.curves(session, project),
        has_reward_model=bool(registry.models_of(session, project, kinds=[ModelKind.reward], ready=True)),
    )


@router.get("/figures/{key}.svg")
def reward_figure_svg(
    request: Request, session: ReadSession, _: Researcher, project: CurrentProject, key: str
) -> Response:
    return attachments.drawing(request, _figure(session, project, key), f"{project.slug}-{key}")


@router.get("/figures/{key}.csv")
def reward_figure_csv(session: ReadSession, _: Researcher, project: CurrentProject, key: str) -> Response:
    return attachments.table(as_csv(_figure(session, project, key)), f"{project.slug}-{key}")


@router.get("/curves/{run_id}.svg")
def reward_curve_svg(
    request: Request, session: ReadSession, _: Researcher, project: CurrentProject, run_id: uuid.UUID
) -> Response:
    curve = _curve(session, project, run_id)
    return attachments.as_svg(render(request, "evals/curve.svg", curve=curve), f"{project.slug}-{curve.run.name}")


@router.get("/curves/{run_id}.csv")
def reward_curve_csv(session: ReadSession, _: Researcher, project: CurrentProject, run_id: uuid.UUID) -> Response:
    curve = _curve(session, project, run_id)
    return attachments.table(reward_models.curve_as_csv(curve), f"{project.slug}-{curve.run.name}")


def _figure(session: Session, project: Project, key: str) -> Figure:
    every = (figure for each in reward_models.beside_people(session, project) for figure in each.figures)
    return figure_named(every, key, page="the page of reward models")


def _curve(session: Session, project: Project, run_id: uuid.UUID) -> Curve:
    found = next((curve for curve in reward_models.curves(session, project) if curve.run.id == run_id), None)
    if found is None:
        raise NotFound("There is no such curve.", mend="Open the page of reward models: it lists those there are.")
    return found
