"""What an admin sends to be imported, and how it is kept between its preview and its confirmation."""

import gzip
import hashlib
import io
import re
import uuid
import zlib

from fastapi import UploadFile

from app.core.config import get_settings
from app.core.errors import Invalid, NotFound
from app.core.storable import storable
from app.core.storage import Artefacts
from app.prompts.readers import ImportFormat, guess_format, guess_pasted
from app.prompts.streams import refuse_foreign

_DIGEST = re.compile(r"[0-9a-f]{64}")


def what_was_sent(file: UploadFile | None, pasted: str) -> tuple[bytes, ImportFormat, str]:
    """What was sent, how to read it, and what to call its source. A file comes before pasted text."""
    if file is None or not file.filename:
        return pasted.encode("utf-8", errors="replace"), guess_pasted(pasted), "pasted"
    most = get_settings().upload_mib * 2**20
    content = _unpacked(file.file.read(most + 1), most)
    if len(content) > most:
        raise Invalid(
            f"The file is larger than {get_settings().upload_mib} MiB.",
            mend="Split it, or ask to raise TOUCHSTONE_UPLOAD_MIB.",
        )
    refuse_foreign(content[:4])
    name = storable(file.filename[:200])
    return content, guess_format(name, content[:4]), name


def _unpacked(content: bytes, most: int) -> bytes:
    """A gzip file's content, read no further than what shows that it is too large."""
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        with gzip.open(io.BytesIO(content)) as packed:
            return packed.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Invalid(
            f"The file says that it is gzip, and can't be unpacked: {error}.", mend="Pack it anew."
        ) from error


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
