"""The playground: which models can be asked, a question on its way to a worker, and what it waits for."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.core.broker import UNREACHABLE
from app.core.db import reading
from app.core.errors import Conflict, Invalid, NotFound
from app.core.queue import JobName, Queue, send_now
from app.playground import line
from app.playground.board import Board, board_of
from app.playground.line import Asked, Standing
from app.playground.questions import Question
from app.projects.models import Project
from app.registry import service as registry
from app.registry.models import Model, ModelKind, ModelState
from app.runs import workers
from app.runs.models import Run, Worker

WRITERS = (ModelKind.policy, ModelKind.sft, ModelKind.base)
ALONE = "touchstone worker --queue playground"


@dataclass(frozen=True, slots=True)
class Offer:
    """What can be chosen: the newest first."""

    writers: list[Model]
    judges: list[Model]


@dataclass(frozen=True, slots=True)
class Note:
    """What a question waits for, and what can be done about it."""

    words: str
    mend: str = ""


def offer(session: Session, project: Project) -> Offer:
    ready = registry.models_of(session, project, ready=True)
    judges = [each for each in ready if each.kind == ModelKind.reward]
    return Offer([each for each in ready if each.kind in WRITERS], judges)


def opening_choice(offered: Offer) -> dict[str, str]:
    """Where the address names no model: the newest one beside the one that it came from, or else beside the next."""
    if not offered.writers:
        return {}
    newest, *others = offered.writers
    before = next((each for each in others if each.id == newest.parent_id), others[0] if others else None)
    pair = [before, newest] if before else [newest]
    return dict(zip(("left", "right"), (str(each.id) for each in pair), strict=False))


def chosen_in(offered: Offer, wanted: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The choices of an address that can be had, and which of them (left, right, judge) can't."""
    can_be = {name: {str(each.id) for each in offered.writers} for name in ("left", "right")}
    can_be["judge"] = {str(each.id) for each in offered.judges}
    asked = {name: wanted[name] for name in can_be if wanted.get(name)}
    return (
        {name: value for name, value in asked.items() if value in can_be[name]},
        [name for name, value in asked.items() if value not in can_be[name]],
    )


def ask(session: Session, project: Project, person: Person, question: Question) -> Asked:
    """Send the question to a worker. Invalid: a model is not ready. Conflict: no worker is there at all."""
    models = [_ready(session, project, model_id, WRITERS) for model_id in question.writers]
    if question.judge:
        _ready(session, project, question.judge, (ModelKind.reward,))
    if not _answering_workers(session):
        note = waiting_for(session, project)
        raise Conflict(note.words, mend=note.mend)
    asked = Asked(uuid.uuid4(), person.id, project.id, question, [model.name for model in models])
    with line.connected() as client:
        line.put(client, asked)
    try:
        send_now(JobName.answer, str(asked.id))
    except UNREACHABLE as error:
        raise line.away(error) from error
    return asked


def _ready(session: Session, project: Project, model_id: uuid.UUID, kinds: Sequence[ModelKind]) -> Model:
    model = session.get(Model, model_id)
    if model is None or model.project_id != project.id or model.kind not in kinds:
        raise Invalid("The question was not asked.", fields={"Model": "It is none of this project's. Choose another."})
    if model.state != ModelState.ready:
        raise Invalid("The question was not asked.", fields={model.name: f"It is {model.state}. Choose another."})
    return model


def asked_by(person: Person, project: Project, ask_id: uuid.UUID) -> Asked:
    """The person's own question. NotFound: it is forgotten, or somebody else's."""
    with line.connected() as client:
        asked = line.find(client, ask_id)
    if asked is None or (asked.person_id, asked.project_id) != (person.id, project.id):
        raise NotFound("These answers are no longer kept.", mend="Ask again: the playground keeps nothing.")
    return asked


def board(asked: Asked) -> Board:
    """The answers as far as they have come. A page was there to read them."""
    with line.connected() as client:
        said = line.said_so_far(client, asked.id)
        line.keep_listening(client, asked.id)
    return board_of(asked.names, said)


def stop(asked: Asked) -> None:
    with line.connected() as client:
        line.stop(client, asked.id, "You stopped it.")


def look(asked: Asked) -> Note | None:
    """What the question waits for, if it waits. One whose worker has died is ended here, in words."""
    with line.connected() as client:
        line.keep_listening(client, asked.id)
        standing = line.standing(client, asked.id)
        if standing == Standing.silent:
            line.finish(
                client, asked.id, "The worker that answered gives no sign any more: it was killed, or lost its "
                "connection. Ask again; another one, or the same one started anew, will answer.", is_bad=True,
            )  # fmt: skip
    if standing != Standing.waiting:
        return None
    with reading() as session:
        return waiting_for(session, session.get_one(Project, asked.project_id))


def waiting_for(session: Session, project: Project) -> Note:
    """Why no worker has taken the question yet."""
    alive = _answering_workers(session)
    if not alive:
        return Note("No worker is running that could answer.", f"Start one: `touchstone worker`, or `{ALONE}`.")
    if any(worker.run_id is None for worker in alive):
        return Note("A worker takes the question when it has ended what it is at.")
    runs = [_run_in_words(session, project, worker) for worker in alive]
    who = "The only worker is" if len(runs) == 1 else f"All {len(runs)} workers are"
    mend = f"It is answered when a run ends or is stopped. To ask beside runs, start a worker for that: `{ALONE}`."
    return Note(f"{who} at work on {' and '.join(runs)}.", mend)


def _answering_workers(session: Session) -> list[Worker]:
    return [each for each in workers.live_workers(session) if each.queue in (Queue.touchstone, Queue.playground)]


def _run_in_words(session: Session, project: Project, worker: Worker) -> str:
    run = session.get(Run, worker.run_id)
    if run is None or run.project_id != project.id:
        return "a run of another project"
    return f"the run {run.name}" + (f" (step {run.step:,} of {run.total_steps:,})" if run.total_steps else "")
