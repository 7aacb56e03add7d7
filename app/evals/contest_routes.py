"""The pages of prefix contests, and their downloads."""

import uuid

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from app.accounts.deps import Researcher
from app.core.deps import ReadSession
from app.core.errors import NotFound
from app.core.pages import render
from app.evals import attachments, contests
from app.evals.contests import Contest
from app.evals.figures import figure_named
from app.projects.deps import CurrentProject
from app.projects.models import Project

router = APIRouter(prefix="/p/{slug}/evaluations/contests")


@router.get("")
def contests_page(request: Request, session: ReadSession, _: Researcher, project: CurrentProject) -> Response:
    found = [(run, contests.result_of(run)) for run in contests.contests_of(session, project)]
    return render(request, "evals/contests.html", found=found)


@router.get("/{run_id}")
def contest_page(
    request: Request, session: ReadSession, _: Researcher, project: CurrentProject, run_id: uuid.UUID
) -> Response:
    run, contest = contests.contest_of(session, project, run_id)
    figures = contests.figures_of(contest) if contest and contest.candidates else []
    return render(request, "evals/contest.html", run=run, contest=contest, figures=figures)


@router.get("/{run_id}/summary.csv")
def summary(session: ReadSession, _: Researcher, project: CurrentProject, run_id: uuid.UUID) -> Response:
    return attachments.table(contests.summary_csv(_over(session, project, run_id)), f"{project.slug}-contest")


@router.get("/{run_id}/prompts.csv")
def prompts(session: ReadSession, _: Researcher, project: CurrentProject, run_id: uuid.UUID) -> Response:
    return attachments.table(contests.prompts_csv(_over(session, project, run_id)), f"{project.slug}-contest-prompts")


@router.get("/{run_id}/{key}.svg")
def drawing(
    request: Request, session: ReadSession, _: Researcher, project: CurrentProject, run_id: uuid.UUID, key: str
) -> Response:
    figure = figure_named(contests.figures_of(_over(session, project, run_id)), key, page="the contest's page")
    return attachments.drawing(request, figure, f"{project.slug}-contest-{key}")


def _over(session: Session, project: Project, run_id: uuid.UUID) -> Contest:
    _run, contest = contests.contest_of(session, project, run_id)
    if contest is None or not contest.candidates:
        raise NotFound("This contest has no result yet.", mend="Wait until it is over.")
    return contest
