"""What a person asks of an import, by a button or a script: stop, go on, discard, take back what was held."""

import uuid
from typing import Literal

from app.accounts.models import Person
from app.core.db import writing
from app.projects.models import Project
from app.prompts.intake import service, settling
from app.prompts.intake.discarding import discard, remove_next
from app.prompts.models import HeldFor, PromptImport

Act = Literal["stop", "continue", "discard"]
_DO = {"stop": service.ask_to_stop, "continue": service.resume, "discard": discard}


def act_on(project: Project, import_id: uuid.UUID, act: Act, *, by: Person) -> PromptImport:
    with writing() as session:
        row = service.import_of_project(session, project, import_id)
        _DO[act](session, row, by=by)
    if act == "discard":
        remove_next(row.id)
    return row


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
