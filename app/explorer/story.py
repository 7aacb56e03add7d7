"""One prompt's whole story: where it came from, what was written for it, and what everyone said of that."""

import uuid
from dataclasses import dataclass

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.explorer.completions import FoundCompletion, described
from app.labeling.answers import ItemSheet, open_item
from app.labeling.current import is_current
from app.labeling.models import Assignment, AssignmentState, Batch, Completion, Demonstration, Item, Report
from app.labeling.said import Said, said_of
from app.projects.models import Project
from app.prompts.models import Prompt
from app.prompts.service import prompt_of_project

MOST = 50  # of each: what is beyond is counted


@dataclass(frozen=True, slots=True)
class Written:
    demonstration: Demonstration
    by: str


@dataclass(frozen=True, slots=True)
class Judgment:
    """An item of the prompt, and what labelers said under the letters of its completions."""

    sheet: ItemSheet
    said: list[Said]
    reports: list[Report]


@dataclass(frozen=True, slots=True)
class Story:
    prompt: Prompt
    author: str
    demonstrations: list[Written]
    completions: list[FoundCompletion]
    judgments: list[Judgment]
    is_being_judged: bool  # by who reads this: then models go unnamed, so that the judgment stays blind

    @property
    def is_cut(self) -> bool:
        return MOST in (len(self.demonstrations), len(self.completions), len(self.judgments))


def story_of(session: Session, project: Project, prompt_id: uuid.UUID, *, reader: Person) -> Story:
    prompt = prompt_of_project(session, project, prompt_id)
    author = session.get(Person, prompt.written_by) if prompt.written_by else None
    query = select(Completion).where(Completion.prompt_id == prompt.id).order_by(Completion.id.desc()).limit(MOST)
    return Story(
        prompt=prompt,
        author=author.name if author else "",
        demonstrations=_demonstrations(session, prompt),
        completions=described(session, [(each, prompt) for each in session.scalars(query)]),
        judgments=_judgments(session, prompt),
        is_being_judged=_is_judging(session, prompt, reader),
    )


def _demonstrations(session: Session, prompt: Prompt) -> list[Written]:
    query = (
        select(Demonstration, Person.name)
        .join(Person, Person.id == Demonstration.person_id)
        .where(Demonstration.prompt_id == prompt.id, is_current(Demonstration))
        .order_by(Demonstration.id.desc())
    )
    return [Written(each, name) for each, name in session.execute(query.limit(MOST))]


def _judgments(session: Session, prompt: Prompt) -> list[Judgment]:
    query = select(Item, Batch).join(Batch, Batch.id == Item.batch_id).where(Item.prompt_id == prompt.id)
    found = []
    for item, batch in session.execute(query.order_by(Item.id.desc()).limit(MOST)).all():
        sheet = open_item(session, batch, item.id)
        reports = session.scalars(select(Report).where(Report.item_id == item.id).order_by(Report.id))
        found.append(Judgment(sheet, said_of(session, sheet), list(reports)))
    return found


def _is_judging(session: Session, prompt: Prompt, reader: Person) -> bool:
    held = exists().where(
        Assignment.item_id == Item.id,
        Assignment.person_id == reader.id,
        Assignment.state == AssignmentState.leased,
    )
    return bool(session.scalar(select(Item.id).where(Item.prompt_id == prompt.id, held).limit(1)))
