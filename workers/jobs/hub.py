"""A dataset of the Hugging Face Hub into the artefact store, row by row, so that it is imported as any file is."""

import json
import logging
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from app.core.config import get_settings
from app.core.db import reading
from app.core.errors import DomainError, Invalid
from app.core.storage import get_artefacts
from app.projects.models import Project
from app.prompts.intake import service
from app.prompts.intake.preview import first_rows, guess_settings
from app.prompts.models import PromptImport
from app.prompts.readers import ImportFormat, nothing_in_it
from workers.jobs.patience import patiently

if TYPE_CHECKING:
    from workers.jobs.prompt_import import Held

logger = logging.getLogger(__name__)
ROWS_BETWEEN_LOOKS = 1000


class NotFetched(DomainError):
    title = "The dataset could not be fetched"


def fetch(held: "Held") -> None:
    """Fetch it whole, then wait for somebody to look at its first rows. Killed on the way, it is fetched anew."""
    store, key = get_artefacts(), service.hub_key(held.row)
    size, number, most = 0, 0, get_settings().prompt_unpacked_mib
    with store.writing(key) as file:
        for number, values in enumerate(_rows(held.row), start=1):
            size += file.write(json.dumps(values, default=_in_words).encode() + b"\n")
            if size > most * 2**20:
                raise Invalid(f"The dataset is larger than {most:,} MiB.", mend="Ask for fewer rows.")
            if number % ROWS_BETWEEN_LOOKS == 0:
                held.progress(position=number)
        if not number:
            raise nothing_in_it()
    rows = first_rows(store, key, ImportFormat.jsonl)
    with reading() as session:
        before = service.last_settings(session, session.get_one(Project, held.row.project_id))
    settings = guess_settings(rows, before)
    patiently(lambda session: service.look_over(
        session, held.row.id, claim=held.claim, settings=settings, upload_key=key, size=size, position=0))  # fmt: skip


def _rows(row: PromptImport) -> Iterator[dict[str, Any]]:
    """The dataset's rows as they come over the network."""
    named = row.hub
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise NotFetched(
            "This worker lacks the package `datasets`.", mend="Start one where pip's extra `hub` is installed."
        ) from error
    try:
        found = load_dataset(
            named["dataset"], named["config"] or None, split=named["split"], revision=named["revision"] or None,
            streaming=True,
        )  # fmt: skip
        yield from islice(iter(found), named["rows"] or None)
    except DomainError:
        raise
    except Exception as error:  # whatever its readers and the network raise: they agree on no class of error
        logger.warning("%s could not be fetched", named["dataset"], exc_info=error)
        raise NotFetched(
            f"“{named['dataset']}” could not be fetched: {str(error)[:500]}",
            mend="Check its name, config, split and revision, and whether this machine reaches the Hub.",
        ) from error


def _in_words(value: Any) -> str:
    """What JSON has no form for: times as text; a picture is no prompt."""
    return value.isoformat() if hasattr(value, "isoformat") else f"<{type(value).__name__}>"
