"""The starter project: prompts, demonstrations, rules and a small model, so that the loop can be tried at once."""

import gzip
import json
import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import Person, PersonState, Role
from app.core.storage import get_artefacts
from app.labeling import service as labeling
from app.projects import service as projects
from app.projects.models import GuidelinesKind, Project
from app.prompts import service as prompts
from app.prompts.models import Prompt, Split
from app.prompts.readers import ImportFormat, read_rows
from app.prompts.splits import content_hash
from app.registry.models import Model, ModelKind, ModelState

SLUG, NAME, SOURCE = "starter", "Story assistant", "starter"
AUTHORS = "authors@touchstone.invalid"
CONTENT = Path(__file__).parent
MODEL = CONTENT.parent.parent / "workers" / "starter"
_GUIDELINES = {
    GuidelinesKind.demonstration: "guidelines.md",
    GuidelinesKind.ranking: "guidelines.md",
    GuidelinesKind.evaluation: "guidelines_evaluation.md",
}


def load_starter(session: Session) -> Project:
    """The starter project, made in this transaction unless it is there already."""
    project = session.scalar(select(Project).where(Project.slug == SLUG))
    if project is not None:
        return project
    project = projects.create_project(session, NAME, slug=SLUG)
    for kind, file in _GUIDELINES.items():
        projects.publish_guidelines(session, project, kind, (CONTENT / file).read_text(encoding="utf-8"))
    schema = json.loads((CONTENT / "rating_schema.json").read_text(encoding="utf-8"))
    projects.publish_rating_schema(session, project, schema)
    rows = read_rows((CONTENT / "prompts.jsonl").read_bytes(), ImportFormat.jsonl)
    prompts.import_prompts(session, project, rows, person=None, source=SOURCE)
    _add_demonstrations(session, project)
    prompts.add_texts(session, project, _texts(), source="TinyStories")
    _add_model(session, project)
    session.flush()
    return project


def _lines(file: str) -> Iterator[dict[str, Any]]:
    for line in (CONTENT / file).read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def _texts() -> Iterator[tuple[str, Split]]:
    with gzip.open(CONTENT / "texts.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            text = json.loads(line)
            yield text["text"], Split(text["split"])


def _add_demonstrations(session: Session, project: Project) -> None:
    query = select(Prompt).where(Prompt.project_id == project.id)
    by_content = {prompt.content_hash: prompt for prompt in session.scalars(query)}
    authors = _authors(session)
    for row in _lines("demonstrations.jsonl"):
        prompt = by_content[content_hash(row["messages"])]
        labeling.record_demonstration(session, prompt, authors, row["completion"], source=SOURCE)


def _authors(session: Session) -> Person:
    """Who wrote the starter's demonstrations: a record without a password, paused, so that no one signs in as them."""
    person = session.scalar(select(Person).where(Person.email == AUTHORS))
    if person is None:
        person = accounts.add_person(session, AUTHORS, name="Touchstone authors", role=Role.labeler)
        person.state = PersonState.paused
    return person


def _add_model(session: Session, project: Project) -> None:
    """The starter model, ready at once. An installation without the workers' files goes without."""
    if not (MODEL / "model.safetensors").is_file():
        return
    config = json.loads((MODEL / "config.json").read_text(encoding="utf-8"))
    model = Model(
        project_id=project.id,
        name="starter",
        kind=ModelKind.base,
        state=ModelState.ready,
        source="starter",
        parameters=count_parameters(MODEL / "model.safetensors"),
        context=config["max_position_embeddings"],
        notes="A small model of children's stories, pretrained for this project.",
    )
    session.add(model)
    session.flush()
    model.storage_key = f"models/{model.id}"
    get_artefacts().put_folder(model.storage_key, MODEL)


def count_parameters(file: Path) -> int:
    """How many numbers a safetensors file holds, from its header alone."""
    with file.open("rb") as tensors:
        (length,) = struct.unpack("<Q", tensors.read(8))
        header = json.loads(tensors.read(length))
    return sum(prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
