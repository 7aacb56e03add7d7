"""The explorer's pages: prompts, completions, judgments, one prompt's story, and how all that is spread."""

import uuid
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from app.accounts.deps import Admin, Researcher
from app.core.deps import Number, ReadSession, WriteSession
from app.core.pages import render, wants_fragment
from app.explorer import choices
from app.explorer.completions import CompletionFilter, completions_part
from app.explorer.distributions import distributions
from app.explorer.items import ItemFilter, Opinion, items_part
from app.explorer.parts import SHOWN, Part
from app.explorer.prompts import prompts_part
from app.explorer.story import story_of
from app.explorer.trace import trace, traced
from app.projects.deps import CurrentProject
from app.prompts.models import Split, UseCase
from app.prompts.service import PromptFilter, prompt_of_project, withdraw

router = APIRouter(prefix="/p/{slug}/explore")
Nothing = Literal[""]
Words = Annotated[str, Query(max_length=200)]


def _page(request: Request, template: str, part: Part[Any], shown: int, **values: Any) -> Response:
    """A whole page, or the rows behind those that one shows. A part that found little goes on by itself."""
    query = {name: value for name, value in request.query_params.items() if name not in ("after", "shown")}
    found = shown + len(part.rows)
    further = urlencode({**query, "after": part.next, "shown": found % SHOWN})
    name = f"explorer/_{template}.html" if wants_fragment(request) else f"explorer/{template}.html"
    return render(
        request, name, rows=part.rows, further=further if part.next else "", is_full=found >= SHOWN, found=found,
        is_filtered=any(query.values()), is_later="after" in request.query_params, **values,
    )  # fmt: skip


@router.get("")
def explore_prompts(
    request: Request, session: ReadSession, _: Researcher, project: CurrentProject,
    q: Words = "", split: Split | Nothing = "", use_case: UseCase | Nothing = "", source: str = "", language: str = "",
    after: str = "", shown: Number = 0,
) -> Response:  # fmt: skip
    wanted = PromptFilter(split or None, use_case or None, q, source=source, language=language)
    part = prompts_part(session, project, wanted, after=after)
    return _page(request, "prompts", part, shown, wanted=wanted, splits=list(Split), use_cases=list(UseCase))


@router.get("/completions")
def explore_completions(
    request: Request, session: ReadSession, _: Researcher, project: CurrentProject,
    q: Words = "", model: uuid.UUID | Nothing = "", flag: Words = "", after: str = "", shown: Number = 0,
) -> Response:  # fmt: skip
    wanted = CompletionFilter(q, model or None, flag)
    part = completions_part(session, project, wanted, after=after)
    return _page(
        request, "completions", part, shown, wanted=wanted, models=choices.models(session, project),
        flags=choices.flags(session, project),
    )  # fmt: skip


@router.get("/judgments")
def explore_judgments(
    request: Request, session: ReadSession, _: Researcher, project: CurrentProject,
    q: Words = "", batch: uuid.UUID | Nothing = "", labeler: uuid.UUID | Nothing = "", opinion: Opinion | Nothing = "",
    after: str = "", shown: Number = 0,
) -> Response:  # fmt: skip
    wanted = ItemFilter(q, batch or None, labeler or None, opinion or None)
    part = items_part(session, project, wanted, after=after)
    return _page(
        request, "judgments", part, shown, wanted=wanted, batches=choices.batches(session, project),
        labelers=choices.labelers(session, project), opinions=choices.OPINIONS,
    )  # fmt: skip


@router.get("/distributions")
def explore_distributions(
    request: Request, session: ReadSession, _: Researcher, project: CurrentProject, figures: bool = False
) -> Response:
    found = distributions(session, project) if figures else None
    return render(request, "explorer/distributions.html", found=found)


@router.get("/trace")
def explore_trace(
    request: Request, session: ReadSession, _: Researcher, project: CurrentProject,
    prompt: uuid.UUID | None = None, labeler: uuid.UUID | None = None, figures: bool = False,
) -> Response:  # fmt: skip
    """Whose trace it is at once; the trace, which reads every snapshot, where it is asked for."""
    whose = traced(session, project, prompt=prompt, labeler=labeler)
    found = trace(session, project, prompt=prompt, labeler=labeler) if figures else None
    return render(request, "explorer/trace.html", whose=whose, found=found, query=str(request.query_params))


@router.post("/prompts/{prompt_id}/withdraw")
def withdraw_prompt(session: WriteSession, admin: Admin, project: CurrentProject, prompt_id: uuid.UUID) -> Response:
    withdraw(session, prompt_of_project(session, project, prompt_id), by=admin)
    return RedirectResponse(f"/p/{project.slug}/explore/prompts/{prompt_id}", 303)


@router.post("/prompts/{prompt_id}/take-back")
def take_prompt_back(session: WriteSession, admin: Admin, project: CurrentProject, prompt_id: uuid.UUID) -> Response:
    withdraw(session, prompt_of_project(session, project, prompt_id), is_withdrawn=False, by=admin)
    return RedirectResponse(f"/p/{project.slug}/explore/prompts/{prompt_id}", 303)


@router.get("/prompts/{prompt_id}")
def prompt_story(
    request: Request, session: ReadSession, reader: Researcher, project: CurrentProject, prompt_id: uuid.UUID
) -> Response:
    return render(request, "explorer/story.html", story=story_of(session, project, prompt_id, reader=reader))
