"""What a person asks of an import, by a button or a script: stop, go on, discard, take back what was held."""

import uuid
from typing import Literal

from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.core.db import writing
from app.core.storage import get_artefacts
from app.projects.models import Project
from app.prompts.intake import service, settling
from app.prompts.models import HeldFor, PromptImport

Act = Literal["stop", "continue", "discard"]


def act_on(session: Session, row: PromptImport, act: Act, *, by: Person) -> None:
    if act == "discard":
        key = service.discard(session, row, by=by)
        session.commit()  # the upload goes only after the import has let go of it
        if key:
            get_artefacts().remove(key)
    else:
        (service.ask_to_stop if act == "stop" else service.resume)(session, row, by=by)


def take_all_back(project: Project, import_id: uuid.UUID, reason: HeldFor, *, by: Person) -> PromptImport:
    """Put into use all that a step held, a part in each transaction, so that others write between two. What a broken
    off one leaves is still held, and is taken back by asking again."""
    with writing() as session:
        row = service.import_of_project(session, project, import_id)
        settling.begin_taking_back(session, row, reason, by=by)
    count = 1
    while count:
        with writing() as session:
            row = service.import_of_project(session, project, import_id)
            count = settling.take_back_next(session, row, reason)
    return row
