"""Writing a project's prefixes, and building one from demonstrations."""

import uuid
from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import Group, Person
from app.core.errors import Conflict, NotFound
from app.core.storable import LONGEST_SEARCH, storable
from app.datasets.examples import PLACE, conversation
from app.labeling.current import is_current
from app.labeling.models import Demonstration
from app.prefixes.models import Prefix
from app.projects.models import Project
from app.prompts.models import Prompt, Split

FRAME = f"Prompt: {PLACE}\nAnswer:"
SEPARATOR = "\n###"
LONGEST = 50_000  # characters: some ten thousand tokens
OFFERED = 50  # demonstrations to choose from


def _typed(text: object) -> object:
    """As typed, with the line ends of every system alike."""
    return storable(text).replace("\r\n", "\n").replace("\r", "\n") if isinstance(text, str) else text


class PrefixCreate(BaseModel):
    """A prefix as it is written."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60, pattern=r"^[^:\x00-\x1f]+$"),
        BeforeValidator(_typed), Field(description="By which its completions go; no colon in it."),
    ]  # fmt: skip
    text: Annotated[
        str, StringConstraints(min_length=1, max_length=LONGEST), BeforeValidator(_typed),
        Field(description="Instruction and examples, as the model reads them."),
    ]  # fmt: skip
    frame: Annotated[
        str, StringConstraints(max_length=1000), BeforeValidator(_typed),
        Field(description=f"How a prompt follows, with {PLACE} where it stands."),
    ] = FRAME  # fmt: skip
    separator: Annotated[
        str, StringConstraints(min_length=1, max_length=100), BeforeValidator(_typed),
        Field(description="Where an example ends: a completion is cut there."),
    ] = SEPARATOR  # fmt: skip
    demonstrations: list[uuid.UUID] = Field([], max_length=100, description="Those it was built from.")

    @field_validator("text")
    @classmethod
    def _says_something(cls, text: str) -> str:
        if not text.strip():
            raise PydanticCustomError("empty", "Write an instruction, examples or both.")
        return text.strip("\n")

    @field_validator("frame")
    @classmethod
    def _has_one_place(cls, frame: str) -> str:
        if frame.count(PLACE) != 1:
            raise PydanticCustomError("place", "Write {place} once: the prompt stands there.", {"place": PLACE})
        return frame.rstrip(" ")

    @field_validator("separator")
    @classmethod
    def _can_be_seen(cls, separator: str) -> str:
        if not separator.strip() and "\n" not in separator:
            raise PydanticCustomError(
                "separator", "Spaces alone stand between all words: write a mark or a line break."
            )
        return separator


def prefixes_of(session: Session, project: Project, *, offered: bool = False) -> list[Prefix]:
    """The newest first; `offered`: without those put away."""
    query = select(Prefix).where(Prefix.project_id == project.id)
    query = query.where(~Prefix.is_retired) if offered else query
    return list(session.scalars(query.order_by(Prefix.created_at.desc(), Prefix.id)))


def prefix_of_project(session: Session, project: Project, prefix_id: uuid.UUID) -> Prefix:
    found = session.get(Prefix, prefix_id)
    if found is None or found.project_id != project.id:
        raise NotFound("There is no such prefix in this project.")
    return found


def write_prefix(session: Session, project: Project, written: PrefixCreate, *, by: Person) -> Prefix:
    """A new prefix; its name is its own for good."""
    if session.scalar(select(exists().where(Prefix.project_id == project.id, Prefix.name == written.name))):
        raise Conflict(
            f"There is a prefix {written.name!r} already, and prefixes are never changed.", mend="Choose another name."
        )
    known = {str(each.id) for each in _demonstrations(session, project, written.demonstrations)}
    said = written.model_dump(exclude={"demonstrations"})
    used = [str(each) for each in written.demonstrations if str(each) in known]
    prefix = Prefix(project_id=project.id, demonstrations=used, created_by=by.id, **said)
    session.add(prefix)
    session.flush()
    audit.record(session, by, "prefix.write", subject=prefix, name=prefix.name)
    return prefix


def put_away(session: Session, prefix: Prefix, *, away: bool, by: Person) -> None:
    """No longer offered to new runs, or offered again. What was written after it stays as it is."""
    prefix.is_retired = away
    audit.record(session, by, "prefix.put_away" if away else "prefix.bring_back", subject=prefix, name=prefix.name)
    session.flush()


def demonstrations_to_show(
    session: Session, project: Project, search: str = "", *, ticked: Sequence[uuid.UUID] = ()
) -> list[tuple[Demonstration, Prompt]]:
    """The newest that may be shown to a model as examples: no held-out prompt's, no held-out labeler's. Those that are
    ticked come first, whatever the search."""
    query = (
        select(Demonstration, Prompt)
        .join(Prompt, Prompt.id == Demonstration.prompt_id)
        .join(Person, Person.id == Demonstration.person_id)
        .where(Prompt.project_id == project.id, Prompt.split == Split.train, ~Prompt.is_retired)
        .where(Person.group != Group.held_out, is_current(Demonstration))
        .order_by(Demonstration.created_at.desc(), Demonstration.id)
    )
    kept = session.execute(query.where(Demonstration.id.in_(ticked))).all() if ticked else []
    if search.strip():
        query = query.where(Demonstration.text.icontains(search.strip()[:LONGEST_SEARCH], autoescape=True))
    others = session.execute(query.where(Demonstration.id.not_in(ticked)).limit(OFFERED))
    return [(each, prompt) for each, prompt in (*kept, *others)]


def with_demonstrations(
    session: Session, project: Project, text: str, *, chosen: Sequence[uuid.UUID], frame: str, separator: str
) -> str:
    """The text with these demonstrations behind it as examples, each in the frame and ended by the separator."""
    found = {each.id: each for each in _demonstrations(session, project, chosen)}
    prompts = {each.id: session.get_one(Prompt, each.prompt_id) for each in found.values()}
    examples = [
        f"{frame.replace(PLACE, conversation(prompts[each].messages))} {found[each].text.strip()}{separator}"
        for each in chosen
        if each in found
    ]
    return "\n\n".join([*filter(None, [text.strip("\n")]), *examples])


def examples_in(session: Session, project: Project, prefix: Prefix) -> list[Demonstration]:
    """The demonstrations that it was built from."""
    return _demonstrations(session, project, [uuid.UUID(each) for each in prefix.demonstrations])


def _demonstrations(session: Session, project: Project, ids: Sequence[uuid.UUID]) -> list[Demonstration]:
    query = (
        select(Demonstration)
        .join(Prompt, Prompt.id == Demonstration.prompt_id)
        .join(Person, Person.id == Demonstration.person_id)
        .where(Demonstration.id.in_(ids), Prompt.project_id == project.id)
        .where(Prompt.split == Split.train, Person.group != Group.held_out)
    )
    return list(session.scalars(query))
