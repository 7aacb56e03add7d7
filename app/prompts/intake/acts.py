"""What a person asks of an import that is on its way, by a button or a script: stop, go on, discard."""

from typing import Literal

from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.core.storage import get_artefacts
from app.prompts.intake import service
from app.prompts.models import PromptImport

Act = Literal["stop", "continue", "discard"]


def act_on(session: Session, row: PromptImport, act: Act, *, by: Person) -> None:
    if act == "discard":
        key = service.discard(session, row, by=by)
        session.commit()  # the upload goes only after the import has let go of it
        if key:
            get_artefacts().remove(key)
    else:
        (service.ask_to_stop if act == "stop" else service.resume)(session, row, by=by)
