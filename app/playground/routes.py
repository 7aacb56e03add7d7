"""The playground's page: two models, one prompt, their answers side by side as they are written."""

import re
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Header, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.accounts.deps import Researcher
from app.accounts.models import Person
from app.core.db import reading
from app.core.deps import SentForm
from app.core.errors import DomainError, NotFound
from app.core.pages import render
from app.playground import service
from app.playground.board import Board
from app.playground.line import Asked
from app.playground.listening import listen
from app.playground.questions import CHOICES, DEFAULTS, EMPTY_TURN, MOST_TURNS, SETTINGS, check_question, typed_in
from app.playground.turns import add_turn, go_on, remove_turn
from app.projects.deps import CurrentProject
from app.projects.models import Project
from app.prompts.service import prompt_of_project

router = APIRouter(prefix="/p/{slug}/models/playground")
_PLACE = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")
_OF_ONE = re.compile(r"(?P<what>remove|continue)-(?P<number>[0-9]{1,2})")


def own_question(person: Researcher, project: CurrentProject, ask_id: uuid.UUID) -> Asked:
    return service.asked_by(person, project, ask_id)


OwnQuestion = Annotated[Asked, Depends(own_question)]


@router.get("")
def playground(request: Request, person: Researcher, project: CurrentProject) -> Response:
    """What the address names: models and settings, a prompt of the pool, or a question and its answers so far."""
    wanted = dict(request.query_params)
    typed: dict[str, Any] = {**DEFAULTS, **{name: wanted[name] for name in SETTINGS if name in wanted}}
    typed["turns"] = [EMPTY_TURN]
    notes: list[str] = []
    with reading() as session:
        offered = service.offer(session, project)
        chosen, lost = service.chosen_in(offered, wanted)
        if lost:
            notes.append("A model that this address names can't be asked: it was deleted, or is no model that fits.")
        names_writers = "left" in wanted or "right" in wanted
        typed |= ({} if names_writers else service.opening_choice(offered)) | chosen
        if prompt_id := _uuid(wanted.get("prompt", "")):
            typed["turns"] = prompt_of_project(session, project, prompt_id).messages
    asked, board = _answers(person, project, _uuid(wanted.get("ask", "")), notes)
    if asked:
        typed |= _typed_again(asked)
    return _page(request, project, typed, asked=asked, board=board, notes=notes)


def _answers(
    person: Person, project: Project, ask_id: uuid.UUID | None, notes: list[str]
) -> tuple[Asked | None, Board | None]:
    if ask_id is None:
        return None, None
    try:
        asked = service.asked_by(person, project, ask_id)
        waits = service.look(asked)  # it ends a question whose worker has died: without scripts nobody else looks
        board = service.board(asked)
    except DomainError as error:
        notes.append(f"{error.message} {error.mend}".strip())
        return None, None
    if waits is not None:
        board.words = f"{waits.words} {waits.mend}".strip()
    return asked, board


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text) if text else None
    except ValueError:
        return None


def _typed_again(asked: Asked) -> dict[str, Any]:
    """The form as it was when the question was asked; a seed that nobody chose is drawn anew."""
    question = asked.question
    typed: dict[str, Any] = {name: str(getattr(question, name) or "") for name in CHOICES}
    typed |= {name: f"{getattr(question, name):g}" for name in ("temperature", "top_p", "max_new_tokens")}
    return typed | {"turns": [turn.model_dump() for turn in question.messages]}


def _page(
    request: Request, project: Project, typed: dict[str, Any], *, error: DomainError | None = None, **values: Any
) -> Response:
    with reading() as session:
        offered = service.offer(session, project)
    values = {"asked": None, "board": None, "notes": [], **values}
    status = error.status if error else 200
    return render(
        request, "playground/playground.html", status=status, offered=offered, typed=typed, error=error,
        most_turns=MOST_TURNS, **values,
    )  # fmt: skip


@router.post("")
def ask(request: Request, person: Researcher, project: CurrentProject, form: SentForm) -> Response:
    """Ask, or change the turns: the form's buttons say which."""
    typed, wish = typed_in(form), str(form.get("do", "ask"))
    try:
        if wish != "ask":
            turns = _changed_turns(person, project, typed["turns"], wish, _uuid(str(form.get("asked", ""))))
            return _page(request, project, {**typed, "turns": turns})
        question = check_question(typed)
        with reading() as session:
            asked = service.ask(session, project, person, question)
    except DomainError as error:
        return _page(request, project, typed, error=error)
    return _to_answers(project, asked, {name: typed[name] for name in (*CHOICES, *SETTINGS) if typed[name]})


def _to_answers(project: Project, asked: Asked, address: dict[str, Any]) -> Response:
    wanted = urlencode({**address, "ask": asked.id})
    return RedirectResponse(f"/p/{project.slug}/models/playground?{wanted}#answers", 303)


def _changed_turns(
    person: Person, project: Project, turns: list[dict[str, str]], wish: str, ask_id: uuid.UUID | None
) -> list[dict[str, str]]:
    found = _OF_ONE.fullmatch(wish)
    if found is None:
        return add_turn(turns)
    if found["what"] == "remove":
        return remove_turn(turns, int(found["number"]))
    if ask_id is None:
        raise NotFound("These answers are no longer kept.", mend="Ask again.")
    asked = service.asked_by(person, project, ask_id)
    return go_on([turn.model_dump() for turn in asked.question.messages], service.board(asked), int(found["number"]))


@router.post("/{ask_id}/stop")
def stop(_: Researcher, project: CurrentProject, asked: OwnQuestion, seed: Annotated[str, Form()] = "") -> Response:
    service.stop(asked)
    wanted = asked.question.model_dump(include={*CHOICES, *SETTINGS}, exclude_none=True, mode="json")
    return _to_answers(project, asked, {**wanted, "seed": seed})  # as it was typed: one that nobody chose is drawn anew


@router.get("/{ask_id}/said", response_class=EventSourceResponse)
async def follow(
    _: Researcher, asked: OwnQuestion, after: str = "", last_event_id: Annotated[str, Header()] = ""
) -> AsyncIterator[ServerSentEvent]:
    """The answers as they are written, behind the word that the page has already; a page that was cut off goes on."""
    known = last_event_id or after
    async for place, said in listen(asked, after=known if _PLACE.fullmatch(known) else "0"):
        yield ServerSentEvent(data=said, id=place or None)
