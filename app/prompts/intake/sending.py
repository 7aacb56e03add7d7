"""What an admin sends, into the artefact store as a stream, and the draft that it becomes."""

import io
import uuid
from typing import BinaryIO

from fastapi import UploadFile
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.core.config import get_settings
from app.core.errors import Invalid
from app.core.storable import storable
from app.core.storage import Artefacts
from app.projects.models import Project
from app.prompts.intake import service
from app.prompts.intake.preview import first_rows, guess_settings
from app.prompts.intake.settings import ImportSettings
from app.prompts.models import PromptImport
from app.prompts.readers import guess_format, guess_pasted, nothing_in_it
from app.prompts.streams import unpacked

_BLOCK, LONGEST_NAME = 2**20, 200


def send(
    session: Session,
    project: Project,
    *,
    by: Person,
    store: Artefacts,
    file: UploadFile | None,
    pasted: str = "",
    settings: ImportSettings | None = None,
) -> PromptImport:
    """Keep a file, or else what was pasted, as a draft. One whose first rows can't be read is refused at once."""
    if file is not None and file.filename:
        content, name = file.file, storable(file.filename[:LONGEST_NAME])
        form = guess_format(name, _head(content))
    else:
        content, name = io.BytesIO(pasted.encode("utf-8", errors="replace")), "pasted"
        form = guess_pasted(pasted)
        if not pasted.strip():
            raise nothing_in_it()
    key = f"uploads/{project.id}/{uuid.uuid4()}"
    size = _keep(store, key, content)
    try:
        rows = first_rows(store, key, form)
    except BaseException:
        store.remove(key)
        raise
    chosen = settings or guess_settings(rows, service.last_settings(session, project))
    return service.add_draft(
        session, project, by=by, name=name, form=form, settings=chosen, upload_key=key, size=size
    )  # fmt: skip


def _head(file: BinaryIO) -> bytes:
    """The first bytes of what is in a file. Parquet has its own packing, and its end must be read first."""
    with_gzip = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    head = unpacked(file, _BLOCK).read(4)
    file.seek(0)
    if with_gzip and head == b"PAR1":
        raise Invalid("There is a Parquet file in this gzip file.", mend="Send it without gzip: it is packed as it is.")
    return head


def _keep(store: Artefacts, key: str, content: BinaryIO) -> int:
    """Copy it block by block. Returns its size."""
    most, size = get_settings().prompt_file_mib, 0
    with store.writing(key) as file:
        while block := content.read(_BLOCK):
            size += len(block)
            if size > most * 2**20:
                raise Invalid(
                    f"The file is larger than {most:,} MiB.",
                    mend="Pack it with gzip, split it, or ask to raise TOUCHSTONE_PROMPT_FILE_MIB.",
                )
            file.write(block)
    return size
