"""An import as the worker does it, in this process."""

import io
import json
import uuid
from collections.abc import Iterable

from fastapi import UploadFile

from app.accounts.models import Person
from app.core.db import reading, writing
from app.core.storage import get_artefacts
from app.projects.models import Project
from app.prompts.intake import sending, service
from app.prompts.intake.settings import ImportSettings
from app.prompts.models import Prompt, PromptImport
from workers.jobs.prompt_import import work_on
from workers.jobs.pulse import Pulse


def jsonl(*rows: object) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def draft(
    project: Project, admin: Person, content: bytes, *, name: str = "file.jsonl", settings: ImportSettings | None = None
) -> uuid.UUID:
    """An upload that waits to be started; its columns are guessed where the settings name none."""
    with writing() as session:
        row = sending.send(session, project, by=admin, store=get_artefacts(),
                           file=UploadFile(io.BytesIO(content), filename=name))  # fmt: skip
        if settings is not None:
            columns = settings.columns or ImportSettings.model_validate(row.settings).columns
            service.choose(session, row, settings.model_copy(update={"columns": columns}))
        return row.id


def start(import_id: uuid.UUID, admin: Person) -> None:
    with writing() as session:
        service.start(session, session.get_one(PromptImport, import_id), by=admin)


def work(import_id: uuid.UUID) -> PromptImport:
    """What the worker does when it is nudged, and the import's row afterwards."""
    work_on(import_id, Pulse())
    with reading() as session:
        return session.get_one(PromptImport, import_id)


def take(
    project: Project, admin: Person, content: bytes, *, name: str = "file.jsonl", **settings: object
) -> PromptImport:
    """The whole of it. Without settings no step of hygiene is on."""
    import_id = draft(project, admin, content, name=name, settings=ImportSettings.model_validate(settings))
    start(import_id, admin)
    return work(import_id)


def texts(prompts: Iterable[Prompt]) -> list[str]:
    return [prompt.messages[-1]["content"] for prompt in prompts]
