"""An upload between its preview and its confirmation, kept under the hash of its content."""

import hashlib
import re
import uuid

from app.core.errors import NotFound
from app.core.storage import Artefacts

_DIGEST = re.compile(r"[0-9a-f]{64}")


def _key(project_id: uuid.UUID, digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise NotFound("There is no such upload.", mend="Choose the file again.")
    return f"uploads/{project_id}/{digest}"


def keep_upload(artefacts: Artefacts, project_id: uuid.UUID, content: bytes) -> str:
    """Keep `content`; the answer names it."""
    digest = hashlib.sha256(content).hexdigest()
    if not artefacts.exists(_key(project_id, digest)):
        with artefacts.writing(_key(project_id, digest)) as file:
            file.write(content)
    return digest


def read_upload(artefacts: Artefacts, project_id: uuid.UUID, digest: str) -> bytes:
    if not artefacts.exists(_key(project_id, digest)):
        raise NotFound(
            "This upload is not here any more; it may have been imported already.", mend="Choose the file again."
        )
    with artefacts.reading(_key(project_id, digest)) as file:
        return file.read()


def forget_upload(artefacts: Artefacts, project_id: uuid.UUID, digest: str) -> None:
    artefacts.remove(_key(project_id, digest))
