"""One prompt as it comes in, and what an import made of it."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from app.accounts.preferences import Content
from app.core.storable import NOT_STORABLE
from app.prompts.models import HeldFor, PromptKind, Split, UseCase, Verdict

MAX_CHARACTERS = 40_000
LONGEST_NAME = 200  # of a user or an organisation: PostgreSQL indexes them, and takes no long ones
LONGEST_SOURCE = 2000  # may be an address
ALIASES = {
    "user": "source_user",
    "organisation": "source_organisation",
    "organization": "source_organisation",
    "source_organization": "source_organisation",
}


NOT_KEPT = "holds characters that can't be kept (NUL or half of a surrogate pair)"
Name = Annotated[str, Field(max_length=LONGEST_NAME)]


def keepable(value: str) -> str:
    """`value`, unless it holds what no database can keep as text."""
    if NOT_STORABLE.search(value):
        raise ValueError(NOT_KEPT)
    return value


class Message(BaseModel):
    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "user", "assistant"]
    content: str = Field(min_length=1)

    @field_validator("content")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("is empty")
        return keepable(value.strip())


class PromptRow(BaseModel):
    """A row of an import: `prompt` (a string) or `messages`, and whatever is known about its origin."""

    model_config = ConfigDict(extra="ignore", str_strip_whitespace=True)

    messages: list[Message] = Field(min_length=1)
    kind: PromptKind = PromptKind.plain
    use_case: UseCase = UseCase.other
    source: Annotated[str, Field(max_length=LONGEST_SOURCE)] | None = None
    source_user: Name | None = None
    source_organisation: Name | None = None
    language: str = Field("en", min_length=2, max_length=12)
    split: Split | None = None
    flags: list[Content] = []

    @field_validator("flags", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        """A table has no lists: `violent, sexual` in one cell."""
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _one_name_for_each(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            raise ValueError("is not an object with named fields")
        row = {ALIASES.get(key, key): value for key, value in values.items() if value not in (None, "")}
        prompt = row.pop("prompt", None)
        if "messages" not in row and prompt is None:
            raise ValueError("has neither `prompt` nor `messages`")
        if "messages" not in row:
            row["messages"] = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
        return row

    @field_validator("source", "source_user", "source_organisation", "language")
    @classmethod
    def _can_be_kept(cls, value: str | None) -> str | None:
        return keepable(value) if value else value

    @model_validator(mode="after")
    def _ends_with_the_user(self) -> "PromptRow":
        if self.messages[-1].role != "user":
            raise ValueError("the last message must be the user's: the completion comes after it")
        length = sum(len(message.content) for message in self.messages)
        if length > MAX_CHARACTERS:
            raise ValueError(f"is {length:,} characters long, more than {MAX_CHARACTERS:,}")
        return self

    def turns(self) -> list[dict[str, str]]:
        return [message.model_dump() for message in self.messages]


def in_words(error: ValidationError) -> str:
    """A validation error as one line for the person whose file it is."""
    parts = []
    for problem in error.errors(include_url=False, include_context=False):
        where = ".".join(str(part) for part in problem["loc"])
        is_broken = problem["type"] == "string_unicode"  # half of a surrogate pair
        message = NOT_KEPT if is_broken else problem["msg"].removeprefix("Value error, ")
        parts.append(f"{where}: {message}" if where else message)
    return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class Looked:
    """A row as its import's steps left it, why it is not to be in use, and which steps changed it."""

    row: PromptRow
    held_for: HeldFor | None = None
    note: str = ""
    changed: tuple[str, ...] = ()
    fingerprint: bytes | None = None


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """What happens to one row, and why."""

    number: int  # its line, as an editor counts
    verdict: Verdict
    reason: str = ""
    row: PromptRow | None = None
    content_hash: str = ""
    split: Split | None = None
    opening: str = ""
    looked: Looked | None = None


@dataclass(frozen=True, slots=True)
class ImportReport:
    rows: list[JudgedRow] = field(default_factory=list)

    def having(self, verdict: Verdict) -> list[JudgedRow]:
        return [row for row in self.rows if row.verdict is verdict]

    @property
    def taken(self) -> list[JudgedRow]:
        return self.having(Verdict.taken)

    @property
    def duplicates(self) -> list[JudgedRow]:
        return self.having(Verdict.duplicate)

    @property
    def refused(self) -> list[JudgedRow]:
        return self.having(Verdict.refused)

    @property
    def splits(self) -> dict[str, int]:
        counts = Counter(row.split for row in self.taken)
        return {split.value: counts[split] for split in Split}
